package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"portico/proxy"
	"portico/proxy/recent"
)

// everyEngine runs a test with each way of moving HTTP/1.
func everyEngine(t *testing.T, test func(t *testing.T, o proxy.Options)) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			o := options()
			o.Conf.Engine, o.Conf.Recent = engine, 64
			test(t, o)
		})
	}
}

// ended waits for the only exchange that q finds: it is filed a moment after the
// client has its answer.
func (f *front) ended(q recent.Query) recent.Exchange {
	f.t.Helper()
	var list []recent.Exchange
	f.eventually("the exchange is filed", func() bool { list = f.Recent(q); return len(list) > 0 })
	if len(list) != 1 {
		f.t.Fatalf("%d exchanges, want one: %+v", len(list), list)
	}
	return list[0]
}

func steps(e recent.Exchange) (names []string) {
	for _, s := range e.Steps {
		names = append(names, s.Step)
	}
	return names
}

// TestRecentTellsTheSteps: what a finished request met stands in the ring, in order, with the id of the access log.
func TestRecentTellsTheSteps(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		addr, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
		f := start(t, o, site(addr))
		get(t, f.client(), "http://shop.test/basket?secret=1234")
		e := f.ended(recent.Query{Site: "shop"})
		if e.Method != "GET" || e.Host != "shop.test" || e.Path != "/basket?…" || e.Status != 200 || e.BytesOut < 5 || e.Failed || e.Instance == "" || e.Proto != "HTTP/1.1" || !strings.HasPrefix(e.Client, "127.0.0.1:") {
			t.Errorf("%+v", e)
		}
		at := -1
		for _, want := range []string{"read", "connect", "connected", "head", "done"} {
			i := slices.Index(steps(e), want)
			if i <= at {
				t.Errorf("%q is missing or out of order in %+v", want, e.Steps)
			}
			at = i
		}
		for i := 1; i < len(e.Steps); i++ {
			if e.Steps[i].At < e.Steps[i-1].At {
				t.Errorf("time runs back in %+v", e.Steps)
			}
		}
		if text := fmt.Sprint(e.Steps); !strings.Contains(text, "a new session") {
			t.Errorf("the choice is not explained: %s", text)
		}
		f.eventually("the line is written", func() bool { return strings.Contains(f.log.String(), "/basket") })
		if !strings.Contains(f.log.String(), `"id":"`+e.ID+`"`) {
			t.Errorf("the access log has no %s: %s", e.ID, f.log)
		}
		if got := f.Recent(recent.Query{ID: e.ID[:6]}); len(got) != 1 || got[0].ID != e.ID {
			t.Errorf("by id: %+v", got)
		}
		if got := f.Recent(recent.Query{Site: "other"}); len(got) != 0 {
			t.Errorf("of another site: %+v", got)
		}
	})
}

// TestRecentKeepsFailures: a failure stays when a thousand good requests came after it.
func TestRecentKeepsFailures(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		o.Conf.Retries = 0
		addr := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
			for {
				q, err := http.ReadRequest(r)
				if err != nil || q.URL.Path == "/broken" {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
		f := start(t, o, site(addr))
		c := f.client()
		if resp, _ := get(t, c, "http://shop.test/broken"); resp.StatusCode != 502 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		for range 1000 {
			get(t, c, "http://shop.test/fine")
		}
		e := f.ended(recent.Query{Failed: true})
		if e.Path != "/broken" || e.Status != 502 || !e.Failed || e.Error == "" {
			t.Errorf("%+v", e)
		}
		if n := len(f.Recent(recent.Query{})); n < 32 || n > 200 {
			t.Errorf("%d exchanges are kept of 64", n)
		}
	})
}

// TestRecentTellsRetries: which instance failed first, and where the request went then.
func TestRecentTellsRetries(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		serve := func(name string) string {
			return rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				for {
					q, err := http.ReadRequest(r)
					if err != nil || q.URL.Path == "/"+name {
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
		}
		f := start(t, o, site(serve("a"), serve("b")))
		var list []recent.Exchange
		f.eventually("a retry is filed", func() bool {
			get(t, f.client(), "http://shop.test/a") // goes to the instance that drops it sooner or later
			list = f.Recent(recent.Query{Failed: true})
			return len(list) > 0
		})
		e := list[len(list)-1]
		text := fmt.Sprint(e.Steps)
		if e.Retries != 1 || e.Status != 200 || !strings.Contains(text, "try 1: ") || !strings.Contains(text, "try 2: "+e.Instance) || strings.Contains(text, "try 1: "+e.Instance) {
			t.Errorf("%+v", e)
		}
		// The outcome is that of the last try. What the first one met stands where it happened, once.
		first, second := strings.Index(text, "try 1 failed: "), strings.Index(text, "try 2: ")
		if first < 0 || first > second || strings.Count(text, "failed: ") != 1 || e.Failed || e.Error != "" ||
			e.Steps[len(e.Steps)-1].Text != "answered with status 200" {
			t.Errorf("the outcome is told by the first try: %+v", e)
		}
		f.eventually("the line is written", func() bool { return strings.Contains(f.log.String(), `"id":"`+e.ID+`"`) })
		line := f.log.String()[strings.Index(f.log.String(), `"id":"`+e.ID):]
		line, _, _ = strings.Cut(line, "\n")
		if strings.Contains(line, `"error"`) || !strings.Contains(line, `"retries":1,"tried":"`) {
			t.Errorf("the access log says %s", line)
		}
	})
}

// TestRecentHidesSecrets: session tokens in paths, and every query.
func TestRecentHidesSecrets(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
		c := site(addr)
		c.Session.Profile = "webdev"
		f := start(t, o, c)
		for _, path := range []string{"/web/CTX_topsecret/page", "/page;jsessionid=topsecret", "/p?token=topsecret&x=topsecret"} {
			get(t, f.client(), "http://shop.test"+path)
		}
		f.eventually("three are filed", func() bool { return len(f.Recent(recent.Query{})) == 3 })
		for _, e := range f.Recent(recent.Query{}) {
			if strings.Contains(fmt.Sprintf("%+v", e), "topsecret") {
				t.Errorf("%+v", e)
			}
		}
	})
}

// TestRecentTakesNonsense: what could not be read is kept without its bytes, and is nobody's failure but the client's.
func TestRecentTakesNonsense(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
		f := start(t, o, site(addr))
		f.raw("GET / HTTP/1.1\r\nHost : \x1b[31mshop.test\r\n\r\n")
		e := f.ended(recent.Query{})
		if e.Status != 400 || e.Failed || e.Site != "" || strings.Contains(fmt.Sprintf("%+v", e), "\x1b") {
			t.Errorf("%+v", e)
		}
	})
}

// TestRecentOff: nothing is kept, and the log has its ids all the same.
func TestRecentOff(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		o.Conf.Recent = 0
		addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
		f := start(t, o, site(addr))
		get(t, f.client(), "http://shop.test/x")
		f.eventually("the line is written", func() bool { return strings.Contains(f.log.String(), `"id":"`) })
		if got := f.Recent(recent.Query{}); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// TestRecentWhileServing: readers and loops do not meet in the same entry; the race detector watches.
func TestRecentWhileServing(t *testing.T) {
	everyEngine(t, func(t *testing.T, o proxy.Options) {
		addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
		o.Conf.Recent = 8
		f := start(t, o, site(addr))
		c := f.client()
		var visitors sync.WaitGroup
		for i := range 4 {
			visitors.Go(func() {
				for j := range 50 {
					resp, err := c.Get(fmt.Sprintf("http://shop.test/%d-%d", i, j))
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		}
		done := make(chan struct{})
		go func() { visitors.Wait(); close(done) }()
		for read := 0; ; {
			for _, e := range f.Recent(recent.Query{}) {
				read++
				if e.Status != 200 || e.Site != "shop" || int(e.BytesOut) < len(e.Path) || e.Steps[len(e.Steps)-1].Step != "done" {
					t.Errorf("a torn entry: %+v", e)
				}
			}
			select {
			case <-done:
				if read == 0 {
					t.Error("nothing was read")
				}
				return
			default:
			}
		}
	})
}
