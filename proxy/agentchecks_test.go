package proxy_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// teller is what an agent itself answers: its word on its instances, as the test wants it.
type teller struct {
	*httptest.Server
	asked atomic.Int64 // streams that were asked for

	mu    sync.Mutex
	lines map[chan []messages.CheckResult]bool // of the streams, guarded by mu
}

func newTeller(t *testing.T) *teller {
	tell := &teller{lines: map[chan []messages.CheckResult]bool{}}
	tell.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tell.asked.Add(1)
		if r.URL.Path != messages.ChecksPath {
			http.NotFound(w, r)
			return
		}
		lines := make(chan []messages.CheckResult)
		tell.mu.Lock()
		tell.lines[lines] = true
		tell.mu.Unlock()
		defer func() {
			tell.mu.Lock()
			defer tell.mu.Unlock()
			delete(tell.lines, lines)
		}()
		out := http.NewResponseController(w)
		for out.Flush() == nil {
			select {
			case <-r.Context().Done():
				return
			case list := <-lines:
				if list == nil {
					return
				}
				_ = json.NewEncoder(w).Encode(list)
			}
		}
	}))
	t.Cleanup(func() { tell.CloseClientConnections(); tell.Close() })
	return tell
}

// say tells all who listen; nil ends their streams. It reports whether anybody listened.
func (tell *teller) say(list []messages.CheckResult) (heard bool) {
	tell.mu.Lock()
	var all []chan []messages.CheckResult
	for lines := range tell.lines {
		all = append(all, lines)
	}
	tell.mu.Unlock()
	for _, lines := range all {
		select {
		case lines <- list:
			heard = true
		case <-time.After(time.Second): // it has just ended
		}
	}
	return heard
}

// keepSaying says the same again and again until the returned function is called.
func (tell *teller) keepSaying(list []messages.CheckResult) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			tell.say(list)
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() { close(end); <-ended }
}

// checked is an instance that counts the checks that went the whole way to it.
type checked struct {
	*httptest.Server
	checks atomic.Int64
}

func newChecked(t *testing.T) *checked {
	c := &checked{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "portico-check" {
			c.checks.Add(1)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// toldWorld is a proxy with one instance whose agent tells of its checks, listened to already.
func toldWorld(t *testing.T, interval time.Duration) (w *world, a *agent, tell *teller, inst *checked, fine messages.CheckResult) {
	t.Helper()
	w, agents := newWorld(t, "m1")
	a = agents["m1"]
	tell, inst = newTeller(t), newChecked(t)
	host := func(url string) string { return url[len("http://"):] }
	a.route("one", host(inst.URL))
	a.route("agent", host(tell.URL))
	s := shop("r1")
	s.Manifest.Health.Interval = units.Duration(interval)
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = s
		v.Instances["one"] = instance("one", "m1", "r1")
	})
	w.rotation("one", true)
	set, err := s.Effective()
	if err != nil {
		t.Fatal(err)
	}
	fine = messages.CheckResult{ID: "one", Asked: set.Question(), OK: true, Code: "L7OK", Status: 200}
	w.f.eventually("the agent is listened to", func() bool { return tell.say([]messages.CheckResult{fine}) })
	return w, a, tell, inst, fine
}

func (w *world) more(inst *checked, what string, n int64) {
	w.t.Helper()
	before := inst.checks.Load()
	w.f.eventually(what, func() bool { return inst.checks.Load() >= before+n })
}

// TestAgentSparesChecks: while an agent says in time that an instance is well, the proxy leaves it alone, but for one
// check of its own now and then. The page shows the agent's.
func TestAgentSparesChecks(t *testing.T) {
	const interval = 500 * time.Millisecond
	w, _, tell, inst, fine := toldWorld(t, interval)
	fine.Status = 234
	stop := tell.keepSaying([]messages.CheckResult{fine})
	w.f.eventually("the agent's check is shown", func() bool { return w.f.Balancer().Pool("shop").Upstream("one").Health().Last.Status == 234 })
	w.f.eventually("the proxy checks at less than half its pace", func() bool {
		began, before := time.Now(), inst.checks.Load()
		time.Sleep(8 * interval) // what the test is about
		n, usual := inst.checks.Load()-before, int64(time.Since(began)/interval)
		t.Logf("%d checks where %d are usual", n, usual)
		return n < usual/2
	})
	w.more(inst, "a check goes the whole way all the same", 2)
	stop()
	w.more(inst, "the silence of the agent is noticed", 4)
}

// TestAgentIsNotBelieved: whatever an agent says but that all is well, and the end of its word, makes the proxy check at once.
// With this interval it would not check again by itself.
func TestAgentIsNotBelieved(t *testing.T) {
	w, a, tell, inst, fine := toldWorld(t, time.Hour)
	u := w.f.Balancer().Pool("shop").Upstream("one")
	before := inst.checks.Load()
	tell.say([]messages.CheckResult{{ID: "one", Asked: fine.Asked, Code: "L7STS", Status: 500}})
	w.f.eventually("the proxy looks for itself", func() bool { return inst.checks.Load() > before })
	if u.State() != balancer.Up {
		t.Errorf("the agent's word alone made it %v", u.State())
	}
	before = inst.checks.Load()
	w.f.eventually("the stream is open again or still", func() bool { return tell.say(nil) })
	w.f.eventually("the proxy looks for itself after the end", func() bool { return inst.checks.Load() > before })

	w.f.eventually("the agent is listened to again", func() bool { return tell.say([]messages.CheckResult{fine}) })
	a.gone.Store(true)
	stop := tell.keepSaying([]messages.CheckResult{{ID: "one", Asked: fine.Asked, Code: "L4CON"}, fine}) // contradicts itself
	w.f.eventually("it is found", func() bool { return !u.InRotation() })
	stop()
}

// TestAgentAsksSomethingElse: an agent that checks by other settings than the proxy's, or does not tell of its checks, spares it none.
func TestAgentAsksSomethingElse(t *testing.T) {
	w, _, tell, inst, fine := toldWorld(t, 100*time.Millisecond)
	fine.Asked = sites.Front{Health: sites.Health{Path: "/other"}}.Question()
	stop := tell.keepSaying([]messages.CheckResult{fine})
	w.more(inst, "checks go on", 10)
	stop()
}

func TestAgentIsOld(t *testing.T) {
	w, agents := newWorld(t, "m1")
	inst := newChecked(t)
	var asked atomic.Int64
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	t.Cleanup(old.Close)
	agents["m1"].route("one", inst.Listener.Addr().String())
	agents["m1"].route("agent", old.Listener.Addr().String())
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = shop("r1")
		v.Instances["one"] = instance("one", "m1", "r1")
	})
	w.rotation("one", true)
	w.f.eventually("the agent is asked", func() bool { return asked.Load() > 0 })
	w.more(inst, "checks go on", 20)
}

// TestAgentGoesSilently: nothing comes from the agent any more although its connection is there, as on a machine that has died.
func TestAgentGoesSilently(t *testing.T) {
	w, a, tell, _, fine := toldWorld(t, 100*time.Millisecond)
	fine.Status = 234
	stop := tell.keepSaying([]messages.CheckResult{fine})
	w.f.eventually("it is believed", func() bool { return w.f.Balancer().Pool("shop").Upstream("one").Health().Last.Status == 234 })
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	stop()
	a.route("one", mute.Addr().String())
	w.f.eventually("it is found", func() bool {
		return w.f.Balancer().Pool("shop").Upstream("one").Health().Failed > 0 || !w.f.InRotation("one")
	})
}
