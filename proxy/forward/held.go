package forward

import (
	"slices"
	"time"

	"portico/balancer"
	"portico/proxy/exchange"
	"portico/proxy/fault"
	"portico/proxy/http1"
	"portico/proxy/site"
)

// What becomes of a visitor whose own instance cannot be reached while the session there is
// kept, and of one for whom nothing but restarting instances is left: the request is held for a moment, then
// the visitor is asked to come again.

const (
	// heldFor is how long requests are held for an instance from when it was first found wanting: longer
	// than a restart of an agent or of a process takes, shorter than people wait without an answer.
	heldFor = 5 * time.Second

	// heldMost is how many requests without a session a site holds at a time. More are told to come again: they are a crowd, or a flood.
	heldMost = 1024
)

// heldLimit returns for how long a request may still be held for an instance at now (Unix milliseconds). restarts: its agent has said
// that it goes for a moment.
func heldLimit(u *balancer.Upstream, restarts bool, now int64) time.Duration {
	limit := heldFor
	if restarts {
		limit = site.AgentRestart
	}
	since := u.Doubted()
	if since == 0 {
		return limit
	}
	return min(max(limit-time.Duration(now-since)*time.Millisecond, 0), limit)
}

// waitsForRestart lets the request wait where its instance is restarting by the word of its agent, or where it has no session and nobody
// takes it but such as are. It reports whether it does. No connection is tried that would only be refused: attempts are few, and shared.
func (f *flight) waitsForRestart(d *exchange.Decision) bool {
	c := &f.choice
	var list []*balancer.Upstream
	switch {
	case f.awaited:
		return false
	case c.Upstream == nil && c.None != balancer.NoneFull, c.FailOpen && f.restarts(c.Upstream):
		list = f.restarting()
	case c.Pinned && f.restarts(c.Upstream):
		list = append(f.news[:0], c.Upstream)
	}
	if len(list) == 0 || !c.Pinned && !f.joinCrowd() {
		return false
	}
	f.done(balancer.Outcome{Result: balancer.Refused, Retried: true})
	f.choice, f.held = balancer.Choice{Upstream: list[0], Await: true}, true
	f.await(d, list...)
	return true
}

// restarts reports whether an instance was found wanting, and its agent has said that it goes for a moment.
func (f *flight) restarts(u *balancer.Upstream) bool {
	return u.Undecided() && u.Doubted() != 0 && f.h.Origins.For(u).Restarts()
}

// restarting returns the instances for which a request without a session may wait; none where another one takes new visitors, whatever
// kept this one from it.
func (f *flight) restarting() []*balancer.Upstream {
	list := f.news[:0]
	for _, u := range f.site.State.Pool.Upstreams() {
		switch {
		case u.Admin() != balancer.AdminReady || u.Spec().Retiring:
		case u.State() == balancer.Up:
			return nil
		case f.restarts(u):
			list = append(list, u)
		}
	}
	return list
}

// joinCrowd counts a request without a session that is about to be held, and reports whether there was room.
func (f *flight) joinCrowd() bool {
	if f.site.State.Crowd.Add(1) > heldMost {
		f.site.State.Crowd.Add(-1)
		return false
	}
	f.crowd = true
	return true
}

// await lets the request wait for news of the visitor's own instance, or of those that are restarting. A refused connection does not
// prove that one is down, because a full backlog looks the same, and a move would cost the session.
func (f *flight) await(d *exchange.Decision, list ...*balancer.Upstream) {
	f.news = append(f.news[:0], list...)
	f.awaits, f.waited, f.limit = true, time.Now(), 0
	now := f.h.Clock.Millis(f.waited)
	for _, u := range list {
		f.limit = max(f.limit, heldLimit(u, f.h.Origins.For(u).Restarts(), now))
	}
	f.listen(d)
}

// listen lets the request wait for news.
func (f *flight) listen(d *exchange.Decision) {
	f.unlisten()
	for _, u := range f.news {
		f.forget = append(f.forget, u.Tell(d.Wake))
	}
	f.park(d)
	if f.decided() {
		d.ParkFor = 0 // the news came before anybody listened
	}
}

// decided reports whether one of the instances is there again, or nothing is to be waited for any more.
func (f *flight) decided() bool {
	waits := func(u *balancer.Upstream) bool { return u.Undecided() }
	return !slices.ContainsFunc(f.news, waits) || slices.ContainsFunc(f.news, func(u *balancer.Upstream) bool { return u.State() == balancer.Up })
}

// unlisten ends the wait for news. Without it, an instance whose health never changes would collect the callbacks of all who ever waited.
func (f *flight) unlisten() {
	for _, forget := range f.forget {
		forget()
	}
	clear(f.forget)
	f.forget = f.forget[:0]
}

// unheld ends the wait as a whole.
func (f *flight) unheld() {
	f.unlisten()
	clear(f.news)
	f.news = f.news[:0]
	if f.crowd {
		f.crowd = false
		f.site.State.Crowd.Add(-1)
	}
}

// judged picks anew once an instance that was waited for is known to be up, or all are known to be down, or after the longest wait.
func (f *flight) judged(late bool, r *http1.Request, d *exchange.Decision) *fault.Fault {
	if !f.decided() && !late {
		f.listen(d)
		return nil
	}
	f.awaits = false
	f.done(balancer.Outcome{Result: balancer.Refused, Retried: true})
	f.pick.Patient, f.awaited = false, true
	f.pick.Exclude = slices.DeleteFunc(f.pick.Exclude, func(u *balancer.Upstream) bool { return !u.Undecided() && slices.Contains(f.news, u) })
	f.unheld()
	return f.choose(r, d)
}
