package frontdoor_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/conf"
	"portico/internal/units"
	"portico/proxy/frontdoor"
	"portico/tests/support/freeport"
)

// far away from what a busy machine needs.
const patience = 2 * time.Minute

// configuration is that of a proxy with one site, whose upstream answers "hello".
func configuration(t *testing.T) conf.Config {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	c := conf.Default()
	c.Dir, c.Proxy.Name = filepath.Join(t.TempDir(), "state"), "proxy-1"
	c.Proxy.HTTP, c.Proxy.HTTPS, c.TLS.ACME = freeport.Addr(t), "", ""
	c.Admin.Address, c.Gossip.Address = freeport.Addr(t), freeport.Addr(t)
	c.Proxy.Timeouts.Drain = units.Duration(3 * time.Second)
	c.Sites = []conf.Site{{Name: "hello", Upstreams: []conf.Upstream{{Name: "one", Addr: strings.TrimPrefix(upstream.URL, "http://")}}}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// running is a proxy of this process, and the end of its Run.
type running struct {
	*frontdoor.Proxy
	stop context.CancelFunc
	end  chan error
}

func start(t *testing.T, c conf.Config) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p, err := frontdoor.New(ctx, options(t, c))
	if err != nil {
		stop()
		t.Fatal(err)
	}
	r := &running{Proxy: p, stop: stop, end: make(chan error, 1)}
	go func() { r.end <- p.Run(ctx) }()
	t.Cleanup(stop)
	return r
}

func options(t *testing.T, c conf.Config) frontdoor.Options {
	return frontdoor.Options{Conf: c, Version: "0.1.0", TakeOver: true, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// ended waits for the end of Run, which must have been a good one.
func (r *running) ended(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.end:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the proxy has not ended")
	}
}

// answers waits until the site answers.
func answers(t *testing.T, addr string) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if status, _ := get(addr); status == http.StatusOK {
			return
		}
		if time.Now().After(limit) {
			t.Fatal("the site does not answer")
		}
	}
}

// get asks on a connection of its own.
func get(addr string) (int, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get("http://" + addr + "/")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// TestProxyRunsUntilItIsTold: New, Run and Close are all that it takes, and nothing listens afterwards.
func TestProxyRunsUntilItIsTold(t *testing.T) {
	c := configuration(t)
	r := start(t, c)
	answers(t, c.Proxy.HTTP)
	r.stop()
	r.ended(t)
	r.Close()
	for _, addr := range []string{c.Proxy.HTTP, c.Admin.Address} {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			t.Errorf("something listens on %s", addr)
		}
	}
}

// TestProxyThatNeverRanIsClosed: what New has opened, Close ends, and the folder takes the next one.
func TestProxyThatNeverRanIsClosed(t *testing.T) {
	c := configuration(t)
	for range 2 {
		p, err := frontdoor.New(t.Context(), options(t, c))
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		p.Close()
	}
}

// TestTakeOverByAnother: the next proxy on the folder takes the place, the one before it ends by itself, and no visitor is refused
// meanwhile. One that cannot start leaves the place as it was.
func TestTakeOverByAnother(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no take-overs on Windows")
	}
	c := configuration(t)
	first := start(t, c)
	answers(t, c.Proxy.HTTP)
	fingerprint := first.Fingerprint()

	var refused, served atomic.Int64
	done := make(chan struct{})
	var visitors sync.WaitGroup
	visitors.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if status, err := get(c.Proxy.HTTP); err != nil || status != http.StatusOK {
				t.Log(status, err)
				refused.Add(1)
			}
			served.Add(1)
		}
	})

	broken := c
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	broken.Admin.Address = other.Addr().String()
	if p, err := frontdoor.New(t.Context(), options(t, broken)); err == nil {
		p.Close()
		t.Fatal("a proxy took over without its admin listener")
	}
	second := start(t, c) // waits until the first has everything again
	first.ended(t)
	answers(t, c.Proxy.HTTP)
	close(done)
	visitors.Wait()
	if n := refused.Load(); n > 0 || served.Load() == 0 {
		t.Errorf("%d of %d visitors were refused", n, served.Load())
	}
	if got := second.Fingerprint(); got != fingerprint {
		t.Errorf("the second proxy has the cluster %s, the first had %s", got, fingerprint)
	}
	second.stop()
	second.ended(t)
}
