package proxy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"portico/internal/units"
)

// A slow message takes more than twice the time after which a side that does nothing is given up, and the few pieces that move at a time
// next to none.
const (
	slowSize   = 6 << 20
	slowPieces = 130
	slowPause  = 50 * time.Millisecond
	slowLimit  = 3 * time.Second
	fewPieces  = 8
)

// paced is a body that comes, or is taken, in pieces with pauses.
type paced struct {
	io.Reader
	*pace
	slow  bool
	n     int
	since time.Time // the beginning of a few pieces
	few   int       // of them until now
}

func (p *paced) Read(b []byte) (int, error) {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	if p.n >= slowSize/slowPieces && p.slow {
		p.n = 0
		time.Sleep(p.slower * slowPause) // what the test is about
		p.few++
	}
	defer func() {
		if p.took(time.Since(p.since)); p.few >= fewPieces || !p.slow {
			p.since, p.few = time.Now(), 0
		}
	}()
	n, err := p.Reader.Read(b[:min(len(b), slowSize/slowPieces-p.n%(slowSize/slowPieces))])
	p.n += n
	return n, err
}

func slowBody() io.Reader { return bytes.NewReader(make([]byte, slowSize)) }

// TestSlowSides: an upload or a download may take as long as it needs while its bytes move, over HTTP/1 and HTTP/2, whichever side is slow.
// The drivers' own table has the ways that are theirs, see exchangetest.
func TestSlowSides(t *testing.T) {
	atSomePace(t, slowLimit, func(p *pace) error { return slowSides(t, p) })
}

func slowSides(t *testing.T, p *pace) error {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		slow := r.URL.Query().Has("origin")
		if r.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, &paced{Reader: r.Body, pace: p, slow: slow})
			_, _ = fmt.Fprint(w, n)
		} else if r.URL.Path == "/down" {
			_, _ = io.Copy(w, &paced{Reader: slowBody(), pace: p, slow: slow})
		}
	})
	o, pool := tlsOptions(t, "shop.test")
	o.Conf.Timeouts.Body, o.Conf.Timeouts.Response = units.Duration(p.limit), units.Duration(p.limit)
	c := site(addr)
	c.TLS.Redirect = "off"
	f := start(t, o, c)
	small := func(network, to string) (net.Conn, error) {
		c, err := net.Dial(network, to)
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetReadBuffer(64 << 10)
		}
		return c, err
	}
	clients := map[string]*http.Transport{
		"http":  {Dial: small},
		"https": {Dial: small, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "shop.test"}, ForceAttemptHTTP2: true},
	}
	errs := make(chan error, 8)
	for scheme, tr := range clients {
		defer tr.CloseIdleConnections()
		to := map[string]string{"http": f.http, "https": f.tls}[scheme]
		for _, who := range []string{"client", "origin"} {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				go func() {
					n, err := slowExchange(tr, p, method, scheme+"://"+to, who)
					if err != nil || n != slowSize {
						err = fmt.Errorf("%s %s, slow %s: %d bytes of %d, %v", scheme, method, who, n, slowSize, err)
					}
					errs <- err
				}()
			}
		}
	}
	var list []error
	for range cap(errs) {
		list = append(list, <-errs)
	}
	return errors.Join(list...)
}

func slowExchange(tr http.RoundTripper, p *pace, method, base, who string) (n int64, err error) {
	path, body := "/down", io.Reader(nil)
	if method == http.MethodPost {
		path, body = "/up", &paced{Reader: slowBody(), pace: p, slow: who == "client"}
	}
	r, err := http.NewRequest(method, base+path+"?"+who, body)
	if err != nil {
		return 0, err
	}
	r.Host = "shop.test"
	res, err := tr.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", res.StatusCode)
	}
	if method == http.MethodPost {
		_, err = fmt.Fscan(res.Body, &n)
		return n, err
	}
	return io.Copy(io.Discard, &paced{Reader: res.Body, pace: p, slow: who == "client"})
}
