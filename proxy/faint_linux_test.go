package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"portico/internal/units"
)

// A faint side takes less in the time after which a side that does nothing is given up than the system waits for before it says that
// there is room again; after a while it takes the rest at once.
const (
	faintSize  = 5 << 20
	faintFor   = 3 * slowLimit
	faintPause = 120 * time.Millisecond // a KiB each
)

// faint reads a body that way.
type faint struct {
	io.Reader
	*pace
	until time.Time
	since time.Time // the beginning of a few reads
	few   int       // of them until now
}

func (f *faint) Read(b []byte) (int, error) {
	if f.until.IsZero() {
		f.since = time.Now()
		f.until = f.since.Add(f.slower * faintFor)
	}
	if time.Now().Before(f.until) {
		time.Sleep(f.slower * faintPause) // what the test is about
		b = b[:min(len(b), 1<<10)]
		f.few++
	}
	n, err := f.Reader.Read(b)
	if f.took(time.Since(f.since)); f.few >= fewPieces || !time.Now().Before(f.until) {
		f.since, f.few = time.Now(), 0
	}
	return n, err
}

// little makes a socket, or those that a listener takes, hold little that was not read.
func little(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
}

// TestFaintSides: where the standard library carries a message, a side is not given up either while it takes what the system holds for it,
// however little. HTTP/2's clients are left out, for whom the system holds 128 KiB, see internal/unsent.
func TestFaintSides(t *testing.T) {
	atSomePace(t, slowLimit, func(p *pace) error { return faintSides(t, p) })
}

func faintSides(t *testing.T, p *pace) error {
	ln, err := (&net.ListenConfig{Control: little}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, &faint{Reader: r.Body, pace: p})
			_, _ = fmt.Fprint(w, n)
			return
		}
		_, _ = w.Write(make([]byte, faintSize))
	}))
	_ = o.Listener.Close()
	o.Listener = ln
	o.Start()
	t.Cleanup(o.Close)
	errs := make(chan error, 3*len(engines()))
	for _, engine := range engines() {
		opt, pool := tlsOptions(t, "shop.test")
		opt.Conf.Engine = engine
		opt.Conf.Timeouts.Body, opt.Conf.Timeouts.Response = units.Duration(p.limit), units.Duration(p.limit)
		c := site(ln.Addr().String())
		c.TLS.Redirect = "off"
		f := start(t, opt, c)
		moved := func(what string, n int64, err error) {
			if n != faintSize || err != nil {
				err = fmt.Errorf("engine %s, %s: %d bytes of %d, %v", engine, what, n, faintSize, err)
			}
			errs <- err
		}
		go func() {
			n, err := faintDownload(p, f.http)
			moved("to the client", n, err)
		}()
		secure := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "shop.test"}, ForceAttemptHTTP2: true}
		for url, tr := range map[string]*http.Transport{"http://" + f.http: {}, "https://" + f.tls: secure} {
			defer tr.CloseIdleConnections()
			go func() {
				n, err := faintUpload(tr, url)
				moved("to the origin from "+url[:5], n, err)
			}()
		}
	}
	var list []error
	for range cap(errs) {
		list = append(list, <-errs)
	}
	return errors.Join(list...)
}

func faintDownload(p *pace, addr string) (int64, error) {
	tr := &http.Transport{DialContext: (&net.Dialer{Control: little}).DialContext, ReadBufferSize: 1 << 10}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodGet, "http://"+addr, nil)
	if err != nil {
		return 0, err
	}
	r.Host = "shop.test"
	res, err := tr.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return io.Copy(io.Discard, &faint{Reader: res.Body, pace: p})
}

func faintUpload(tr http.RoundTripper, url string) (n int64, err error) {
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(make([]byte, faintSize)))
	if err != nil {
		return 0, err
	}
	r.Host = "shop.test"
	res, err := tr.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = fmt.Fscan(res.Body, &n)
	return n, err
}
