package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
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

	// probeBody is how much of an answer is read and searched.
	probeBody = 64 << 10

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

func newProber(ctx context.Context, log *slog.Logger) *prober {
	return &prober{ctx: ctx, log: log, room: make(chan struct{}, maxProbes), runs: map[string]*probeRun{}}
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
		e := r.target.probe(ctx)
		<-p.room
		ended := time.Now()
		if ctx.Err() != nil {
			return
		}
		if e.Code == "" { // our own trouble
			timer.Reset(time.Second)
			continue
		}
		now := time.Now().UnixMilli()
		if effect := u.Observe(e, now); effect.Changed {
			level := slog.LevelInfo
			if effect.To == balancer.Down {
				level = slog.LevelWarn
			}
			p.log.Log(ctx, level, "instance changed state", "instance", u.Spec().Name, "from", effect.From.String(), "to", effect.To.String(),
				"check", e.Code, "status", e.Status, "detail", e.Detail)
		}
		if e.Code == "L4TOUT" && u.State() == balancer.Down {
			r.target.origin.cut()
		}
		r.checked.Store(true)
		timer.Reset(u.NextCheck(r.target.check.interval, rand.Uint64()))
		_ = pause.For(ctx, probeSpacing-time.Since(ended))
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

func (t *target) ask(ctx context.Context) balancer.Evidence {
	c, err := t.origin.forCheck(ctx)
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
	a, err := c.exchange(ctx, &outgoing{
		method: http.MethodGet, target: probeTarget(t.check.path), host: t.check.host,
		header:     http.Header{"User-Agent": {"portico-check"}, "Connection": {"close"}, "Accept": {"*/*"}},
		headBudget: t.check.timeout, pause: t.check.timeout,
	}, func(int, http.Header) {})
	if err != nil {
		switch {
		case ctx.Err() != nil || isTimeout(err) || errors.Is(err, errSlowOrigin):
			return balancer.Evidence{Code: "L7TOUT", Detail: "no answer in time"}
		case errors.Is(err, errBadResponse):
			return balancer.Evidence{Code: "L7RSP", Detail: err.Error()}
		}
		return balancer.Evidence{Code: "L4CON", Detail: "connection closed before an answer"}
	}
	defer a.finish()
	a.keep = false
	if !t.check.status.Has(a.status) {
		return balancer.Evidence{Code: "L7STS", Status: a.status}
	}
	if t.check.body == "" {
		return balancer.Evidence{OK: true, Code: "L7OK", Status: a.status}
	}
	body, err := io.ReadAll(io.LimitReader(a, probeBody))
	if !bytes.Contains(body, []byte(t.check.body)) {
		detail := "the expected text is not in the answer"
		if err != nil {
			detail += ", which broke off"
		}
		return balancer.Evidence{Code: "L7RSP", Status: a.status, Detail: detail}
	}
	return balancer.Evidence{OK: true, Code: "L7OK", Status: a.status}
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

// stays tells a TCP check through an agent whether the instance was there: the
// agent takes the connection by itself and drops it when it finds nobody.
func (c *originConn) stays() balancer.Evidence {
	defer c.discard()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var b [1]byte
	_, err := c.Conn.Read(b[:])
	if err == nil || isTimeout(err) {
		return balancer.Evidence{OK: true, Code: "L4OK"}
	}
	return balancer.Evidence{Code: "L4CON", Detail: "connection closed by the agent"}
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
