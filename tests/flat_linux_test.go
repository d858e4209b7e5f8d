package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/tests/harness"
)

// faults is an application that breaks off, answers too little, fails, dawdles and
// sends much, by the path.
func faults(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/reset", "/short":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if r.URL.Path == "/short" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo little")
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	case "/500":
		w.WriteHeader(http.StatusInternalServerError)
	case "/endless": // until somebody gives up
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 32<<10)); err != nil {
				return
			}
		}
	default:
		_, _ = io.WriteString(w, strings.Repeat("y", 256<<10))
	}
}

// Rounds of requests with faults on both sides leave a proxy as it was: goroutines,
// descriptors and memory do not grow from one round to the next, and the site next
// door has answered every request (Z1; make soak is the long form).
func TestNothingGrows(t *testing.T) {
	t.Parallel()
	bad := httptest.NewServer(http.HandlerFunc(faults))
	defer bad.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }))
	defer good.Close()
	config := writeFile(t, "portico.toml", fmt.Sprintf(`
[[site]]
name = "bad"
hosts = ["bad.test"]
[[site.upstream]]
name = "one"
addr = %q

[[site]]
name = "good"
hosts = ["shop.test"]
[[site.upstream]]
name = "one"
addr = %q
`, bad.Listener.Addr().String(), good.Listener.Addr().String()))
	p := harness.StartProxy(t, "--config", config, "--set", "proxy.connections.idle=4")
	harness.Eventually(t, 60*time.Second, func() error {
		c := newShort(p.HTTP)
		defer c.close()
		if got := c.get(); got != 200 {
			return errf("the good site answers %d (%v)", got, c.err)
		}
		return nil
	})
	faultyRound(t, p.HTTP) // what is kept for later is there after this
	before := usage(t, p)
	for range 3 {
		faultyRound(t, p.HTTP)
	}
	harness.Eventually(t, 60*time.Second, func() error {
		now := usage(t, p)
		if now.goroutines > before.goroutines+20 || now.descriptors > before.descriptors+20 || now.memory > 2*before.memory+(64<<20) {
			return errf("after three rounds %+v, after the first %+v", now, before)
		}
		t.Logf("after the first round %+v, after the fourth %+v", before, now)
		return nil
	})
}

// faultyRound makes 400 requests, four at a time; half of them meet a fault.
func faultyRound(t *testing.T, addr string) {
	t.Helper()
	paths := []string{"/reset", "/short", "/500", "/endless", "/large", "/large"}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 50 {
				meet(addr, paths[(worker+i)%len(paths)])
				c := newShort(addr)
				if got := c.get(); got != 200 {
					t.Errorf("the good site answers %d (%v)", got, c.err)
				}
				c.close()
			}
		})
	}
	wg.Wait()
}

// meet sends a request to the faulty site, reads at most the beginning of the answer
// and goes away without a word.
func meet(addr, path string) {
	c, err := net.DialTimeout("tcp", addr, 20*time.Second)
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: bad.test\r\n\r\n")
	_, _ = io.ReadAtLeast(c, make([]byte, 64<<10), 20)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

type held struct{ goroutines, descriptors, memory int }

var heldSeries = regexp.MustCompile(`(?m)^(go_goroutines|process_resident_memory_anon_bytes) (\d+)$`)

// usage is what a proxy holds, as its metrics and the system tell.
func usage(t *testing.T, p *harness.Proxy) held {
	t.Helper()
	code, text := p.API(http.MethodGet, "/metrics", nil)
	if code != http.StatusOK {
		t.Fatalf("/metrics answers %d", code)
	}
	got := map[string]int{}
	for _, m := range heldSeries.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		got[m[1]] = n
	}
	if len(got) != 2 {
		t.Fatalf("/metrics tells %v, want two series", got)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	return held{got["go_goroutines"], len(open), got["process_resident_memory_anon_bytes"]}
}
