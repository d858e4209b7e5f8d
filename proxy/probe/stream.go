package probe

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"portico/balancer"
	"portico/internal/pause"
	"portico/membership/catalog/messages"
	"portico/proxy/origin"
)

const (
	// fullCheckEvery is how often an instance of a member is checked through the whole line although its agent says that all is well:
	// new connections may be impossible where an old one lasts. Agents know by it, too, that this proxy lives.
	fullCheckEvery = 4 * time.Second
	// streamSlack is by how much an agent's word may be late, beside a tenth of the interval, before the proxy checks itself.
	streamSlack = 100 * time.Millisecond
	// streamLate is for how long the proxy may have stood still before what it reads is too old to say anything.
	streamLate = time.Second
	// streamSilence is how long a stream may say nothing, or three intervals if that is more.
	streamSilence = 30 * time.Second
	// streamRetry is between two attempts to listen to an agent, streamRetryOld the same where an agent does not tell of its checks:
	// it is of a version before that.
	streamRetry    = 2 * time.Second
	streamRetryOld = time.Minute
	// maxStreamLine bounds one message.
	maxStreamLine = 1 << 20
)

// agentName is the server name of what an agent itself answers.
const agentName = "agent"

var (
	errNoStream   = errors.New("the agent does not tell of its checks")
	errStreamLate = errors.New("the proxy stood still")
)

// stream is one agent's word on its instances, which spares this proxy checks of its own: while an instance is up beyond
// doubt and its agent goes on to say in time that its checks pass, only one check every few seconds goes the whole way to
// one of the agent's instances. Whatever else the agent says, and its silence, makes the proxy look for itself, at once.
type stream struct {
	p         *Prober
	member    string
	origin    *origin.Origin // to any of the instances: they have their agent in common
	cancel    context.CancelFunc
	reachable chan struct{} // capacity 1: a check has gone the whole way
	open      atomic.Bool
	lastFull  atomic.Int64 // when one went it last, nanoseconds since the prober's beginning
}

// listenLocked makes sure that an agent is listened to; p.mu is held.
func (p *Prober) listenLocked(t Target) {
	if t.Member == "" || t.Origin.TLS == nil {
		return
	}
	if s := p.streams[t.Member]; s != nil {
		if s.origin.Addr == t.Origin.Addr && s.origin.Key == t.Origin.Key {
			return
		}
		s.cancel()
	}
	ctx, cancel := context.WithCancel(p.ctx)
	s := &stream{p: p, member: t.Member, origin: t.Origin, cancel: cancel, reachable: make(chan struct{}, 1)}
	p.streams[t.Member] = s
	p.wg.Go(func() { s.run(ctx) })
}

// leaveLocked notes that one upstream less of a member is checked, and ends the stream of one of which none is any more; p.mu is held.
func (p *Prober) leaveLocked(member string) {
	if p.members[member]--; p.members[member] > 0 {
		return
	}
	delete(p.members, member)
	if s := p.streams[member]; s != nil {
		s.cancel()
		delete(p.streams, member)
	}
}

// noteFull notes that a check has gone the whole way to an instance of a member, and passed.
func (p *Prober) noteFull(member string) {
	p.mu.Lock()
	s := p.streams[member]
	p.mu.Unlock()
	if s == nil {
		return
	}
	s.lastFull.Store(int64(time.Since(p.began)))
	if !s.open.Load() {
		select {
		case s.reachable <- struct{}{}:
		default:
		}
	}
}

// run listens to the agent until ctx ends. It begins anew whenever a check has shown that the agent can be reached.
func (s *stream) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reachable:
		}
		err := s.follow(ctx)
		wait := streamRetry
		if errors.Is(err, errNoStream) {
			wait = streamRetryOld
		}
		s.p.log.Debug("agent's checks not followed", "member", s.member, "error", err)
		if s.open.Swap(false) && ctx.Err() == nil && !s.origin.Leaves() {
			s.p.Member(s.member) // an agent that goes for a moment has said so; this one may have died
		}
		_ = pause.For(ctx, wait)
	}
}

// follow reads what the agent says until that ends.
func (s *stream) follow(ctx context.Context) error {
	c, in, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.discard()
	defer context.AfterFunc(ctx, c.discard)()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxStreamLine)
	s.open.Store(true)
	_, seen := s.p.lag.since(watch{})
	for {
		_ = c.SetReadDeadline(time.Now().Add(s.p.silenceLimit(s.member)))
		if !lines.Scan() {
			return errors.Join(lines.Err(), io.EOF)
		}
		var late time.Duration
		if late, seen = s.p.lag.since(seen); late > streamLate {
			return errStreamLate
		}
		var results []messages.CheckResult
		if err := json.Unmarshal(lines.Bytes(), &results); err != nil {
			return fmt.Errorf("%w: %w", origin.ErrBadResponse, err)
		}
		s.p.apply(s, results)
	}
}

// dial asks the agent to tell of its checks.
func (s *stream) dial(ctx context.Context) (*conn, io.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, s.origin.Connect)
	defer cancel()
	config := s.origin.TLS.Clone()
	config.ServerName = agentName
	c, err := connect(ctx, s.origin.Addr, config)
	if err != nil {
		return nil, nil, err
	}
	a, err := c.get(ctx, agentName, messages.ChecksPath, -1)
	switch {
	case err == nil && a.StatusCode == http.StatusOK:
		return c, a.Body, nil
	case err == nil:
		err = fmt.Errorf("%w: status %d", errNoStream, a.StatusCode)
	}
	c.discard()
	return nil, nil, err
}

// silenceLimit is how long an agent may say nothing.
func (p *Prober) silenceLimit(member string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := streamSilence
	for _, r := range p.runs {
		if r.target.Member == member {
			d = max(d, 3*r.target.Check.interval)
		}
	}
	return d
}

// apply takes in what an agent says of its instances.
func (p *Prober) apply(s *stream, results []messages.CheckResult) {
	var fine []*run
	for _, res := range results {
		p.mu.Lock()
		r := p.runs[res.ID]
		p.mu.Unlock()
		switch {
		case r == nil || r.target.Member != s.member || r.target.Origin.Distrusted():
		case !res.OK, !wellFormed(res):
			r.poke()
		case res.Asked == r.target.Check.question && r.confirm(res, p.time()):
			_ = r.missed(p.lag) // a doubt that comes later is younger than what this proxy missed until now
			fine = append(fine, r)
		}
	}
	now := time.Since(p.began)
	if len(fine) == 0 || now-time.Duration(s.lastFull.Load()) < fullCheckEvery {
		return
	}
	s.lastFull.Store(int64(now)) // should it fail, checks decide what follows
	slices.MinFunc(fine, func(a, b *run) int { return cmp.Compare(a.lastFull.Load(), b.lastFull.Load()) }).poke()
}

// maxCode bounds a check's code: those that there are have seven letters at most.
const maxCode = 32

// wellFormed reports whether a result is such as an agent makes: what it says is shown to people, and written into files that others read.
func wellFormed(res messages.CheckResult) bool {
	letter := func(c rune) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	return res.Code != "" && len(res.Code) <= maxCode && strings.IndexFunc(res.Code, func(c rune) bool { return !letter(c) }) < 0 &&
		res.Status >= 0 && res.Status <= 999 && res.Took >= 0
}

// confirm takes a check of the agent's for one of this proxy's own, if nothing speaks against that. The next of its own
// comes if the agent does not speak again in time.
func (r *run) confirm(res messages.CheckResult, now int64) bool {
	e := balancer.Evidence{From: balancer.FromStream, OK: true, Code: res.Code, Status: res.Status, Latency: res.Took}
	if !r.checked.Load() || r.target.Upstream.Observe(e, now).CheckNow {
		return false
	}
	interval := r.target.Check.interval
	r.delay(interval + interval/10 + streamSlack)
	return true
}
