package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/tests/harness"
)

// crowd is many visitors who come back all the time, each of whom knows what the
// application has to say next.
type crowd struct {
	t     *testing.T
	think time.Duration // between two visits of one visitor, on average
	all   []*regular

	// proxy counts the proxy's ends and starts: it is odd from just before one
	// until it is ready again.
	proxy atomic.Int64
	// crash says that the end under way, or the last one, is a power cut.
	crash atomic.Bool
	// dead is the application server that was switched off, "" before.
	dead atomic.Value

	visits atomic.Int64 // answered by the application with a counter
	ends   atomic.Int64 // sessions that visitors ended
	again  atomic.Int64 // requests that were sent again, because the proxy was restarted
	doubts atomic.Int64 // of these, that the application may have counted

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// regular is one visitor of the crowd.
type regular struct {
	crowd  *crowd
	caller *harness.Caller
	site   string
	path   string // of the application's end of a session
	header http.Header
	pages  bool // asks as a browser does that shows pages
	dialed int64

	nudge chan struct{} // somebody waits for the next visit
	leave atomic.Bool   // is to end the session with the next request
	count atomic.Int64  // visits

	mu   sync.Mutex
	last harness.Visit // the present session's last visit; zero before its first
	told []harness.Visit
	page int // pages seen that tell of the loss
}

// gather makes n visitors of a site; every second one is a browser.
func (c *crowd) gather(addr, site, end string, n int) {
	c.t.Helper()
	for range n {
		id := len(c.all)
		// A user agent of its own: requests of one address and agent that come
		// together are one visitor's first burst.
		caller, err := harness.NewCaller(addr, site+".test", fmt.Sprintf("visitor %d", id))
		if err != nil {
			c.t.Fatal(err)
		}
		r := &regular{crowd: c, caller: caller, site: site, path: end, pages: id%2 == 0, nudge: make(chan struct{}, 1)}
		r.header = http.Header{"Accept": {"application/json"}}
		if r.pages {
			r.header = http.Header{"Accept": {"text/html,*/*"}, "Sec-Fetch-Mode": {"navigate"}}
		}
		c.all = append(c.all, r)
	}
}

// start lets everybody in; the visits end with the test, or with stop.
func (c *crowd) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.dead.Store("")
	for _, r := range c.all {
		c.wg.Go(func() { r.run(ctx) })
	}
	c.t.Cleanup(c.stop)
}

func (c *crowd) stop() {
	c.cancel()
	c.wg.Wait()
}

// run visits until ctx ends or something is wrong.
func (r *regular) run(ctx context.Context) {
	defer r.caller.Close()
	<-time.After(rand.N(r.crowd.think)) // they do not all come in one moment
	for {
		if err := r.turn(ctx); err != nil && ctx.Err() == nil {
			r.crowd.t.Errorf("%s, %s: %v; before: %+v", r.caller.Agent, r.site, err, r.seen())
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.crowd.think/2 + rand.N(r.crowd.think)):
		case <-r.nudge:
			<-time.After(rand.N(r.crowd.think / 2))
		}
	}
}

func (r *regular) seen() harness.Visit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// turn is one visit, or the end of the session.
func (r *regular) turn(ctx context.Context) error {
	if r.leave.Load() {
		if _, _, _, err := r.ask(ctx, r.path); err != nil {
			return fmt.Errorf("end the session: %w", err)
		}
		r.mu.Lock()
		r.last = harness.Visit{}
		r.mu.Unlock()
		r.leave.Store(false)
		r.crowd.ends.Add(1)
		return nil
	}
	resp, body, doubts, err := r.ask(ctx, "/")
	if err != nil {
		return err
	}
	var v harness.Visit
	if err := json.Unmarshal(body, &v); err != nil {
		if r.site == noticeSite && r.pages && resp.StatusCode == http.StatusOK && r.lostServer() {
			r.mu.Lock()
			r.page++
			r.mu.Unlock()
			return r.turn(ctx) // the link on the page
		}
		return fmt.Errorf("answers %s %.200q", resp.Status, body)
	}
	r.crowd.visits.Add(1)
	defer r.count.Add(1)
	return r.judge(v, doubts)
}

// lostServer reports whether the visitor was on the server that was switched off.
func (r *regular) lostServer() bool {
	dead := r.crowd.dead.Load().(string)
	return dead != "" && r.seen().Server == dead
}

// judge compares an answer with what the visitor knows. doubts is how many
// requests before it got no answer though they may have been counted.
func (r *regular) judge(v harness.Visit, doubts int) error {
	dead := r.lostServer()
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.last
	r.last = v
	switch {
	case v.Lost == "" && v.Server != "" && v.Views > before.Views && v.Views <= before.Views+1+doubts &&
		(before.Views == 0 || v.Server == before.Server && v.Release == before.Release):
		return nil
	case v.Lost != "" && dead && v.Server != before.Server && v.Views >= 1 && v.Views <= 1+doubts:
		r.told = append(r.told, v)
		return nil
	}
	r.last = before
	return fmt.Errorf("LOST COUNTER: the application says %+v (%d without an answer)", v, doubts)
}

// ask sends one request until it is answered, and returns how many of it got no
// answer though the application may have seen them: those that were under way when
// the proxy was killed. While the proxy is away, connecting is tried again; a
// connection from before is replaced. Any other failure is one.
func (r *regular) ask(ctx context.Context, path string) (resp *http.Response, body []byte, doubts int, err error) {
	c := r.crowd
	for patience := time.Now().Add(40 * time.Second); ; {
		began := c.proxy.Load()
		fresh, err := r.caller.Connect()
		sent := err == nil
		if fresh {
			r.dialed = began
		}
		if sent {
			resp, body, err = r.caller.Get(path, r.header)
		}
		if err == nil {
			r.dialed = began
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("answers %s: %.200s", resp.Status, body)
			}
			return resp, body, doubts, err
		}
		if sent && errors.Is(err, io.ErrUnexpectedEOF) && r.lostServer() && ctx.Err() == nil && time.Now().Before(patience) {
			continue // its server was switched off in the middle of the answer
		}
		now := c.proxy.Load()
		away := now%2 == 1 || now != began
		if !away && !(sent && r.dialed != now) || time.Now().After(patience) || ctx.Err() != nil {
			return nil, nil, 0, fmt.Errorf("%s: %w", path, err)
		}
		if sent {
			c.again.Add(1)
		}
		if sent && away && c.crash.Load() {
			doubts++
			c.doubts.Add(1)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// everyone waits until each visitor has visited once more, and stops the test
// where one has found something wrong.
func (c *crowd) everyone() {
	c.t.Helper()
	marks := make([]int64, len(c.all))
	for i, r := range c.all {
		marks[i] = r.count.Load()
		r.soon()
	}
	harness.Eventually(c.t, time.Minute, func() error {
		c.sound()
		for i, r := range c.all {
			if r.count.Load() == marks[i] {
				return errf("%s of %s has not come back", r.caller.Agent, r.site)
			}
		}
		return nil
	})
}

// soon has a visitor come back without much thought.
func (r *regular) soon() {
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// sound ends the test once a visitor has failed it.
func (c *crowd) sound() {
	c.t.Helper()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// at returns the visitors of whom is is true.
func (c *crowd) at(is func(site string, v harness.Visit) bool) (list []*regular) {
	for _, r := range c.all {
		if is(r.site, r.seen()) {
			list = append(list, r)
		}
	}
	return list
}

// leave lets visitors end their sessions, and waits until they have.
func (c *crowd) leave(list []*regular) {
	c.t.Helper()
	c.ask(list)
	harness.Eventually(c.t, time.Minute, func() error {
		c.sound()
		for _, r := range list {
			if r.leave.Load() {
				return errf("%s of %s has not ended its session", r.caller.Agent, r.site)
			}
		}
		return nil
	})
}

// ask has visitors end their sessions with their next requests.
func (c *crowd) ask(list []*regular) {
	for _, r := range list {
		r.leave.Store(true)
		r.soon()
	}
}
