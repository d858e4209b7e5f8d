package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/proxy/origin"
	"portico/tests/support/seals"
)

// checkedPool is a pool of n upstreams at an address where nobody listens.
func checkedPool(t *testing.T, n int) []*balancer.Upstream {
	bal, err := balancer.New(balancer.Options{Keys: []seal.Key{seals.NewKey(1, time.Now())}})
	if err != nil {
		t.Fatal(err)
	}
	specs := make([]balancer.Spec, n)
	for i := range specs {
		specs[i] = balancer.Spec{ID: fmt.Sprint(i), Addr: "127.0.0.1:1"}
	}
	pool, err := bal.NewPool("shop", specs, balancer.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return pool.Upstreams()
}

// TestRestingChecksHaveNoGoroutines: hundreds of upstreams that wait for their next check take a timer each.
func TestRestingChecksHaveNoGoroutines(t *testing.T) {
	const n = 500
	ctx, cancel := context.WithCancel(t.Context())
	p := New(ctx, slog.New(slog.DiscardHandler), func() int64 { return time.Now().UnixMilli() })
	defer func() { cancel(); p.Close() }()
	check, err := CompileCheck(sites.Front{Health: sites.Health{Type: sites.HealthTCP, Path: "/", Status: "200", Interval: units.Duration(time.Hour), Timeout: units.Duration(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan accept, n)
	addr := listener(t, 0, accepted)
	before := runtime.NumGoroutine()
	for _, u := range checkedPool(t, n) {
		p.Set(u.ID(), Target{Upstream: u, Check: check, Origin: origin.New(origin.Address{Addr: addr, Connect: time.Minute})})
		if more := runtime.NumGoroutine() - before; more > 3*maxRunning {
			t.Fatalf("%d goroutines more", more)
		}
	}
	for range n {
		_ = (<-accepted).conn.Close()
	}
	// Nothing tells that a goroutine has ended, so the test looks again and again.
	for deadline := time.Now().Add(time.Minute); p.Unchecked() > 0 || runtime.NumGoroutine() > before+5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are not checked, and %d goroutines are there that were not", p.Unchecked(), n, runtime.NumGoroutine()-before)
		}
	}
}

// TestWhoWaitsGoesFirst: while as many checks are under way as may be, one that somebody waits for is the next.
func TestWhoWaitsGoesFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := New(ctx, slog.New(slog.DiscardHandler), func() int64 { return time.Now().UnixMilli() })
	defer func() { cancel(); p.Close() }()
	check, err := CompileCheck(sites.Front{Health: sites.Health{Path: "/", Status: "200", Timeout: units.Duration(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan accept, maxRunning+10)
	for i, u := range checkedPool(t, maxRunning+10) {
		p.Set(u.ID(), Target{Upstream: u, Check: check, Origin: origin.New(origin.Address{Addr: listener(t, i, accepted), Connect: time.Minute})})
	}
	var held []accept
	for range maxRunning {
		held = append(held, <-accepted)
	}
	p.Now(fmt.Sprint(maxRunning + 9))
	_ = held[0].conn.Close()
	if next := <-accepted; next.number != maxRunning+9 {
		t.Errorf("number %d was checked first", next.number)
	}
}

// accept is a connection to one of many listeners.
type accept struct {
	number int
	conn   net.Conn
}

// listener says nothing to whoever connects. It closes when the test ends, and its connections with the checks.
func listener(t *testing.T, number int, accepted chan<- accept) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- accept{number, c}
		}
	}()
	return l.Addr().String()
}

// TestHurryIsKept: a check that somebody asks for while one is under way, or has just ended, goes first when its time comes.
func TestHurryIsKept(t *testing.T) {
	for _, state := range []runState{checking, resting} {
		p := New(t.Context(), slog.New(slog.DiscardHandler), func() int64 { return 1 })
		p.due.running = maxRunning // nobody takes what is due
		r := newRun(p, Target{})
		r.state, r.ended, r.cancel = state, time.Now(), func() {}
		r.hurry()
		if state == checking {
			r.end(time.Hour)
		}
		r.fire()
		if r.timer.Stop(); r.state != hurried || len(p.due.first) != 1 {
			t.Errorf("asked for in state %d: it waits in state %d", state, r.state)
		}
	}
}

// TestWhoWaitsStarvesNobody: visitors of many servers that do not answer have these checked again and again. Others are checked as well.
func TestWhoWaitsStarvesNobody(t *testing.T) {
	p := New(t.Context(), slog.New(slog.DiscardHandler), func() int64 { return 1 })
	p.due.running = maxRunning // the test takes what is due
	var silent []*run
	for range 200 {
		silent = append(silent, newRun(p, Target{}))
	}
	good := newRun(p, Target{})
	hurry := func() {
		for _, r := range silent {
			if r.state == resting {
				r.ended = time.Time{}
				r.poke()
			}
			r.hurry()
		}
	}
	hurry()
	good.poke()
	times, most := 0, 0
	for range 5000 {
		r := p.due.next()
		if _, ok := r.begin(); !ok {
			t.Fatal("a place without a check was taken")
		}
		r.end(time.Hour)
		if r == good {
			times++
			r.ended = time.Time{}
			r.poke()
		}
		hurry()
		most = max(most, len(p.due.others))
	}
	for _, r := range append(silent, good) {
		r.stop()
	}
	if times < 500 || most > 2*len(silent) {
		t.Errorf("the other one was checked %d times beside 5,000, and up to %d waited", times, most)
	}
}
