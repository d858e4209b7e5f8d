package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portico/balancer"
	"portico/internal/pause"
)

const (
	// maxProbes bounds the checks that run at the same time, so that a thousand
	// sites do not check in one burst; each takes milliseconds.
	maxProbes = 64

	// probeBody is how much of an answer is read and searched, and probeHead how much comes before that.
	probeBody = 64 << 10
	probeHead = 64 << 10

	// probeSpacing keeps visitors who all find an instance unreachable from having
	// it checked, and found down, all at once.
	probeSpacing = 100 * time.Millisecond
)

// target is what one check is about.
type target struct {
	upstream *balancer.Upstream
	origin   *origin
	check    checkSpec
	member   string
	site     string
}

func (t *target) same(o *target) bool {
	return t.upstream == o.upstream && t.origin == o.origin && t.check == o.check
}

// prober checks upstreams, each at its own pace, over the same connections'
// path as traffic. Rise and fall are the balancer's; this is the I/O around them.
type prober struct {
	ctx  context.Context
	log  *slog.Logger
	room chan struct{}
	lag  *lag
	time func() int64 // Unix milliseconds, for the balancer

	mu   sync.Mutex
	runs map[string]*probeRun // guarded by mu, by instance id
	wg   sync.WaitGroup
	done bool // guarded by mu
}

type probeRun struct {
	target  target
	cancel  context.CancelFunc
	wake    chan struct{}
	checked atomic.Bool // at least once, whatever came of it
}

func newProber(ctx context.Context, log *slog.Logger, now func() int64) *prober {
	p := &prober{ctx: ctx, log: log, room: make(chan struct{}, maxProbes), runs: map[string]*probeRun{}, lag: newLag(), time: now}
	p.wg.Go(func() { p.lag.run(ctx) })
	return p
}

// set starts checking an upstream, at once, or changes how it is checked.
func (p *prober) set(id string, t target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	if r := p.runs[id]; r != nil {
		if r.target.same(&t) {
			return
		}
		r.cancel()
	}
	ctx, cancel := context.WithCancel(p.ctx)
	r := &probeRun{target: t, cancel: cancel, wake: make(chan struct{}, 1)}
	p.runs[id] = r
	p.wg.Go(func() { p.run(ctx, r) })
}

// only stops all checks but those of keep.
func (p *prober) only(keep map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, r := range p.runs {
		if !keep[id] {
			r.cancel()
			delete(p.runs, id)
		}
	}
}

// now has one upstream checked without delay.
func (p *prober) now(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.runs[id]; r != nil {
		r.poke()
	}
}

// member has all upstreams of a member checked without delay.
func (p *prober) member(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runs {
		if r.target.member == name {
			r.poke()
		}
	}
}

func (r *probeRun) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// close stops all checks and waits for them.
func (p *prober) close() {
	p.mu.Lock()
	p.done = true
	for _, r := range p.runs {
		r.cancel()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// run checks one upstream until its context ends.
func (p *prober) run(ctx context.Context, r *probeRun) {
	defer r.cancel()
	u := r.target.upstream
	timer := time.NewTimer(0)
	defer timer.Stop()
	var seen watch
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		select {
		case <-ctx.Done():
			return
		case p.room <- struct{}{}:
		}
		stood := p.lag.during()
		e := r.target.probe(ctx)
		<-p.room
		if late := stood(); !e.OK && e.Code != "" && late > r.target.check.timeout/4 {
			timer.Reset(probeSpacing) // it was the proxy that was late
			continue
		}
		ended := time.Now()
		if ctx.Err() != nil {
			return
		}
		if e.Code == "" { // our own trouble
			timer.Reset(time.Second)
			continue
		}
		now := p.time()
		e.Lag, seen = p.lag.since(seen)
		effect := u.Observe(e, now)
		if effect.GivenUp && u.Sessions() > 0 {
			p.log.Warn("sessions given up", "site", r.target.site, "instance", u.Spec().Name, "sessions", u.Sessions(), "check", e.Code, "detail", e.Detail)
		}
		switch silent := e.Code == "L4TOUT"; {
		case silent && effect.GivenUp:
			r.target.origin.cut()
		case silent && effect.Changed && effect.To == balancer.Down:
			r.target.origin.forsake()
		case e.OK && effect.Changed:
			r.target.origin.returned()
		}
		r.checked.Store(true)
		timer.Reset(u.NextCheck(r.target.check.interval, rand.Uint64()))
		_ = pause.For(ctx, probeSpacing-time.Since(ended))
	}
}

// logChanges logs each step of an instance's health, whoever made it: checks, requests or its agent.
func logChanges(log *slog.Logger) func(*balancer.Upstream, balancer.Change) {
	return func(u *balancer.Upstream, c balancer.Change) {
		level := slog.LevelInfo
		if c.To == balancer.Down {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "instance changed state", "site", u.Pool(), "instance", u.Spec().Name,
			"from", c.From.String(), "to", c.To.String(), "reason", c.Reason)
	}
}

// probe makes one check. It follows no redirect, reads a bounded part of the
// answer and ends with its timeout. Evidence without a code says nothing: the check
// could not be made.
func (t *target) probe(ctx context.Context) balancer.Evidence {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.check.timeout)
	defer cancel()
	e := t.ask(ctx)
	e.From = balancer.FromCheck
	e.Latency = time.Since(began)
	return e
}

// connectTime is how long a check may wait for its connection. Once one was late the next ones wait for less: a machine
// that is there answers in milliseconds, and a silent one should be known as such while few new visitors have tried it.
// With the default interval of two seconds that takes 7.3 at worst: 2.2 until the first check, 2 for its timeout, and twice
// half a second's pause and a second. Sessions do not hang on it.
func (t *target) connectTime() time.Duration {
	if t.upstream.Doubted() != 0 {
		return min(t.check.timeout, trialConnect)
	}
	return t.check.timeout
}

func (t *target) ask(ctx context.Context) balancer.Evidence {
	connect, cancel := context.WithTimeout(ctx, t.connectTime())
	c, err := t.origin.forCheck(connect)
	cancel()
	if errors.Is(err, errExhausted) {
		return balancer.Evidence{}
	}
	if err != nil {
		return connectEvidence(err)
	}
	if t.check.tcp && t.origin.tls == nil {
		c.discard()
		return balancer.Evidence{OK: true, Code: "L4OK"}
	}
	if t.check.tcp {
		return c.stays()
	}
	defer c.discard()
	a, err := c.get(ctx, t.check.host, probeTarget(t.check.path))
	switch {
	case err == nil:
	case ctx.Err() != nil || isTimeout(err):
		return balancer.Evidence{Code: "L7TOUT", Detail: "no answer in time"}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return balancer.Evidence{Code: "L4CON", Detail: "connection closed before an answer"}
	default:
		return balancer.Evidence{Code: "L7RSP", Detail: fmt.Sprintf("%s: %s", errBadResponse, err)}
	}
	if !t.check.status.Has(a.StatusCode) {
		return balancer.Evidence{Code: "L7STS", Status: a.StatusCode}
	}
	if t.check.body == "" {
		return balancer.Evidence{OK: true, Code: "L7OK", Status: a.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, probeBody))
	if !bytes.Contains(body, []byte(t.check.body)) {
		detail := "the expected text is not in the answer"
		if err != nil {
			detail += ", which broke off"
		}
		return balancer.Evidence{Code: "L7RSP", Status: a.StatusCode, Detail: detail}
	}
	return balancer.Evidence{OK: true, Code: "L7OK", Status: a.StatusCode}
}

// probeTarget writes the path of a check, which may have a query, as a request
// target.
func probeTarget(path string) string {
	path, query, ok := strings.Cut(path, "?")
	if ok {
		return encodePath(path) + "?" + encodePath(query)
	}
	return encodePath(path)
}

// connectEvidence words a failed connection as HAProxy does.
func connectEvidence(err error) balancer.Evidence {
	switch {
	case isTimeout(err):
		return balancer.Evidence{Code: "L4TOUT", Detail: "no connection in time"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return balancer.Evidence{Code: "L4CON", Detail: "connection refused"}
	}
	return balancer.Evidence{Code: "L4CON", Detail: err.Error()}
}
