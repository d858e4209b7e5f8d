package origins

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
)

// oneConnection: requests that are under way at once share a connection.
func oneConnection(t *testing.T, mk rig.Maker) {
	var mu sync.Mutex
	turn := sync.NewCond(&mu)
	here := 0
	m := newMulti(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		here++
		turn.Broadcast()
		for here < 20 {
			turn.Wait()
		}
		_, _ = io.WriteString(w, "hello")
	}, 0, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	var all []*rig.H2Stream
	for range 20 {
		all = append(all, c.Open(true, "GET /"))
	}
	for _, s := range all {
		if got := s.Over(); got.Body != "hello" {
			t.Errorf("%+v", got)
		}
	}
	if _, made := m.count(); made != 1 {
		t.Errorf("%d connections were made", made)
	}
	if n := h.Upstreams[0].Conns(); n != 1 {
		t.Errorf("%d connections are counted", n)
	}
}

// limit: the origin takes so many streams on a connection; who finds no room gets another one, and none is refused.
func limit(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, 3, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	for range 5 {
		var all []*rig.H2Stream
		for i := range 40 {
			all = append(all, c.Open(true, fmt.Sprintf("GET /%d", i)))
		}
		for i, s := range all {
			if got := s.Over(); got.Body != fmt.Sprintf("GET /%d a 0 0 <nil>", i) {
				t.Errorf("%d: %+v", i, got)
			}
		}
	}
	for _, r := range h.Records() {
		if r.Attempts != 1 || r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
}

// mixed: whatever many clients do at once, each gets what is its own.
func mixed(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Name", r.URL.Path)
		fmt.Fprintf(w, "%s:%s", r.URL.Path, b)
	}, 10, nil)
	h := with(m)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for i := range 15 {
				path, body := fmt.Sprintf("/%d/%d", n, i), strings.Repeat(fmt.Sprint(n%10), (n*7919+i*104729)%150_000)
				res, err := c.Post("http://"+addr+path, "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(path, err)
					return
				}
				b, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if string(b) != path+":"+body || err != nil || res.Header.Get("X-Name") != path {
					t.Errorf("%s: %d bytes of %d, %v", path, len(b), len(path)+1+len(body), err)
				}
			}
		})
	}
	wg.Wait()
}

// clientLeaves: the origin hears that a client of HTTP/1 has gone, on its stream alone.
func clientLeaves(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	m := newMulti(t, waiting(begun, ended), 0, nil)
	addr, _ := rig.Start(t, mk, rig.Options(with(m)))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	within(t, "a request", begun)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	within(t, "its end", ended)
	if got := rig.Exchange(t, addr, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasSuffix(got, "hello") {
		t.Errorf("%q", got)
	}
	if _, made := m.count(); made != 1 {
		t.Errorf("%d connections were made", made)
	}
}

func clientResets(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	m := newMulti(t, waiting(begun, ended), 0, nil)
	c, _ := rig.StartH2(t, mk, rig.Options(with(m)), rig.H2Settings{})
	s := c.Open(false, "POST /")
	within(t, "a request", begun)
	s.Cancel()
	within(t, "its end", ended)
	if got := c.Open(true, "GET /ok").Over(); got.Body != "hello" {
		t.Errorf("%+v", got)
	}
	if _, made := m.count(); made != 1 {
		t.Errorf("%d connections were made", made)
	}
}

// stalled: clients that take nothing of their answers hold up no other.
func stalled(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, 0, nil)
	h := with(m)
	ln, pool := rig.H2Listener(t)
	o := rig.Options(h)
	o.Listeners = []exchange.Listener{ln}
	addr, _ := rig.Start(t, mk, o)
	slow := rig.DialH2(t, addr, pool, rig.H2Settings{Window: 1000, Keeps: true})
	var stalled []*rig.H2Stream
	for range 30 {
		s := slow.Open(true, "GET /big")
		s.Until("its head", func(a *rig.H2Answer) bool { return a.Head != "" })
		stalled = append(stalled, s)
	}
	quick := rig.DialH2(t, addr, pool, rig.H2Settings{})
	if got := quick.Open(true, "GET /big").Over(); len(got.Body) != 1_000_000 {
		t.Errorf("%d bytes", len(got.Body))
	}
	for _, s := range stalled {
		if s.Got().Ended {
			t.Error("a client that takes nothing has got all")
		}
	}
	if _, made := m.count(); made > 2 { // one for each loop
		t.Errorf("%d connections were made", made)
	}
}

func names(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, 0, nil)
	h := with(m)
	_, port, _ := net.SplitHostPort(h.Upstreams[0].Addr)
	h.Upstreams[0].Addr = "localhost:" + port
	addr, _ := rig.Start(t, mk, rig.Options(h))
	for range 3 {
		if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.Contains(got, "GET / a 0 0") {
			t.Errorf("%q", got)
		}
	}
}

func bound(t *testing.T, mk rig.Maker) {
	var mu sync.Mutex
	seen := map[string]int{}
	m := newMulti(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.RemoteAddr]++
	}, 0, nil)
	h := with(m)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	for range 2 {
		rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate abc\r\n\r\n")
	}
	mu.Lock()
	defer mu.Unlock()
	once := 0
	for _, n := range seen {
		if n == 1 {
			once++
		}
	}
	if once != 2 || len(seen) != 3 {
		t.Errorf("requests by connection: %v", seen)
	}
}
