package balancer

import (
	"strconv"
	"strings"
	"time"

	"portico/balancer/figures"
)

// HealthState is what the balancer believes about an upstream.
type HealthState uint8

// The states. Only Up takes new visitors. Unverified and Suspect keep theirs.
const (
	Unverified HealthState = iota // never checked by this proxy: no new visitors until a check passes
	Up
	Suspect // a connection failed since the last good check: no new visitors until a check passes
	Down    // checks failed, or the process is gone
)

// String returns the state as one lower-case word.
func (s HealthState) String() string {
	switch s {
	case Unverified:
		return figures.Unverified
	case Up:
		return figures.Up
	case Suspect:
		return figures.Suspect
	}
	return figures.Down
}

// Witness is where a piece of evidence about an upstream comes from.
type Witness uint8

// The sources of evidence.
const (
	FromCheck   Witness = iota // an active check by this proxy
	FromTraffic                // a request: connection refused, reset before an answer
	FromAgent                  // the agent that runs the process
	FromGossip                 // the cluster's failure detector: a hint, never proof
	FromStream                 // a check that the agent made and told: it confirms who is up beyond doubt, and decides nothing
)

// Evidence is one observation of an upstream.
type Evidence struct {
	From    Witness
	OK      bool
	Exited  bool          // FromAgent: the process has ended
	Code    string        // FromCheck and FromStream: HAProxy's word, such as L4OK, L4CON, L7OK, L7STS, L7TOUT
	Status  int           // FromCheck and FromStream: HTTP status, 0 without one
	Latency time.Duration // FromCheck and FromStream: how long the check took
	Lag     time.Duration // FromCheck: of the time since the check before, how much the proxy itself stood still; it proves nothing
	Detail  string        // one line for people

	// Restarts: FromCheck: its agent has said that it goes for a moment, and has not said since that it is back.
	Restarts bool
}

// Effect is what an observation leads to.
type Effect struct {
	Changed  bool // the state is another one
	CheckNow bool // a check should be made at once
	GivenUp  bool // the sessions there are given up from now on
	From, To HealthState
}

// HealthRules say when evidence changes the state.
type HealthRules struct {
	Rise int // passed checks in a row that bring an upstream up; 0: 2
	Fall int // failed checks in a row that bring it down; 0: 3

	// Off means that nobody checks: upstreams are up from the start, and a
	// suspect is trusted again after Rest.
	Off  bool
	Rest time.Duration // with Off: how long a suspect takes no new visitors; 0: 10s

	// Grace is for upstreams behind an agent that may only be restarting while
	// its instances live: for so long an upstream that takes no connections is suspect, and
	// down only then. More of it spares sessions, less of it moves the visitors of
	// a dead machine sooner. An answer to a visitor begins the time anew: then it is
	// the checks that come too late, as on a machine whose processors are all busy. 0: none.
	Grace time.Duration

	// Restart is Grace while the agent has said that it is only restarting. It ends with Patience at the latest. 0: Grace.
	Restart time.Duration

	// Slow is for upstreams whose process an agent watches: for so long one that
	// takes connections and lets the checks wait in vain is suspect, and down
	// only then, or after an answer to a visitor as late. A process that is only busy
	// keeps its visitors. 0: none.
	Slow time.Duration

	// Patience is for how long the sessions of an upstream that is down are kept for it,
	// from when it was first found wanting since it last answered anybody: down alone keeps new
	// visitors away. An agent that says that the process has ended is believed at once. 0: none.
	Patience time.Duration
}

func (r HealthRules) withDefaults() HealthRules {
	if r.Rise <= 0 {
		r.Rise = 2
	}
	if r.Fall <= 0 {
		r.Fall = 3
	}
	if r.Rest <= 0 {
		r.Rest = 10 * time.Second
	}
	return r
}

// Health is the rise and fall of one upstream, as a pure machine. The zero value
// is an unverified upstream. It is not safe for concurrent use; an Upstream
// guards its own.
type Health struct {
	State HealthState
	Level int // as HAProxy counts: 0 is firmly down, Rise and more is up, Rise+Fall-1 is firmly up

	Since       int64 // of the state, Unix milliseconds
	Reason      string
	Cause       Cause // while Down: what visitors who lose their session are told
	Last        Evidence
	LastAt      int64 // of the last check; 0: never
	LastAgent   Evidence
	LastAgentAt int64

	Kept bool // while Down: its sessions wait for it
	Away bool // the last check got no connection

	doubt    int64  // when it was first found wanting since it last answered, Unix milliseconds; 0: it was not
	Failed   uint64 // checks failed while up
	Downs    uint64 // moves from up to down
	downTime int64  // milliseconds in Down, without the present stay
	changes  []Change
}

// Change is one step from a state to another.
type Change struct {
	From, To HealthState
	Reason   string // one line for people, with the check or the connection that led to it
}

// take returns what has changed since it was last called, in order.
func (h *Health) take() []Change {
	c := h.changes
	h.changes = nil
	return c
}

// Observe takes one piece of evidence at now (Unix milliseconds).
func (h *Health) Observe(e Evidence, rules HealthRules, now int64) Effect {
	r := rules.withDefaults()
	from, kept := h.State, h.Kept
	var checkNow bool
	switch e.From {
	case FromCheck:
		h.Last, h.LastAt = e, now
		h.Away = !e.OK && strings.HasPrefix(e.Code, "L4")
		h.check(e, r, now)
		checkNow = h.State == Suspect
	case FromTraffic:
		checkNow = h.traffic(e, r, now)
	case FromAgent:
		h.LastAgent, h.LastAgentAt = e, now
		checkNow = h.agent(e, r, now)
	case FromGossip:
		checkNow = !e.OK
	case FromStream:
		checkNow = !h.confirm(e, r, now)
	}
	givenUp := h.State == Down && !h.Kept && (from != Down || kept)
	return Effect{Changed: h.State != from, CheckNow: checkNow, GivenUp: givenUp, From: from, To: h.State}
}

// lookedAway is for how long a proxy must have stood still to begin anew with its doubts: meanwhile the
// upstream may have been there and gone again. What is less than that is taken off the time.
const lookedAway = 5 * time.Second

func (h *Health) check(e Evidence, r HealthRules, now int64) {
	if e.OK && h.State == Suspect && now-e.Latency.Milliseconds() < h.Since {
		return // it had its connection before the one that failed: a listener may have closed in between
	}
	switch {
	case e.OK:
		h.doubt = 0
	case h.doubt == 0 || e.Lag >= lookedAway:
		h.doubt = now
	default:
		h.doubt = min(h.doubt+e.Lag.Milliseconds(), now)
	}
	spared := r.spares(e, now-h.doubt)
	switch {
	case e.OK && h.State == Unverified:
		h.rise(r, "first check passed: "+e.summary(), now)
	case e.OK && h.State == Suspect:
		h.rise(r, "check passed again: "+e.summary(), now)
	case e.OK && h.State == Down:
		h.Kept = r.Patience > 0 && h.Cause != CauseExited
		if h.Level++; h.Level >= r.Rise {
			h.rise(r, strconv.Itoa(r.Rise)+" checks passed: "+e.summary(), now)
		}
	case e.OK:
		h.Level = min(h.Level+1, r.Rise+r.Fall-1)
	case h.State == Down:
		h.Level = 0
		h.Reason = e.summary()
		h.Kept = h.Kept && now-h.doubt < r.Patience.Milliseconds()
	case h.State == Unverified && spared:
		h.Reason = e.summary()
	case h.State == Unverified:
		h.fall(r, e.summary(), CauseNetwork, now)
	default:
		h.Failed++
		if h.Level--; h.Level < r.Rise && spared {
			h.Level = r.Rise
			h.set(Suspect, "perhaps for a moment: "+e.summary(), now)
		} else if h.Level < r.Rise {
			h.fall(r, strconv.Itoa(r.Fall)+" checks failed: "+e.summary(), CauseMember, now)
		} else {
			h.Reason = e.summary()
		}
	}
}

// confirm takes a passed check of the agent's for one of this proxy's own, and reports whether it could: where there is any doubt
// only a connection through the whole line counts.
func (h *Health) confirm(e Evidence, r HealthRules, now int64) bool {
	if !e.OK || h.State != Up || !h.Steady(r) || h.doubt != 0 {
		return false
	}
	h.Last, h.LastAt = e, now
	return true
}

// spares reports whether checks with the outcome of this one, for so many milliseconds, are no
// reason yet to move anybody. Whoever answers nonsense is there to be judged; who
// cannot be connected to may come back, and who is slow may only be busy.
func (r HealthRules) spares(e Evidence, since int64) bool {
	switch {
	case strings.HasPrefix(e.Code, "L4") && e.Restarts:
		return since < max(r.Grace, min(r.Restart, r.Patience)).Milliseconds()
	case strings.HasPrefix(e.Code, "L4"):
		return since < r.Grace.Milliseconds()
	case e.Code == "L7TOUT":
		return since < r.Slow.Milliseconds()
	}
	return false
}

// traffic takes the word of a request. One failure stops new visitors until a
// check has passed; it never moves those who are pinned, because one refused
// connection is also what a full backlog looks like. An answer proves that the process
// lives, whatever the checks say.
func (h *Health) traffic(e Evidence, r HealthRules, now int64) (checkNow bool) {
	switch {
	case e.OK && h.judged(r) && r.Patience > 0:
		h.doubt = now
		return false
	case e.OK && h.State == Down && h.Cause != CauseExited && r.Patience > 0:
		h.doubt, h.Level, h.Away = now, r.Rise, false
		h.set(Suspect, "answered a visitor while its checks failed", now)
		return true
	case e.OK && h.doubt != 0:
		h.doubt, h.Away = now, false
		return false
	case e.OK, h.State != Up:
		return !e.OK
	}
	if h.doubt == 0 {
		h.doubt = now
	}
	h.set(Suspect, "connection failed: "+e.Detail, now)
	return true
}

// judged reports whether it is down by what it says to checks, while its visitors are sent there all the same. One more answer
// to them is no news then: a state that changed with every request would fill the log, and count as a fall each time.
func (h *Health) judged(r HealthRules) bool {
	return h.State == Down && h.Cause != CauseExited && h.Kept && !h.Away && !h.Last.OK && !r.spares(h.Last, 0)
}

// agent takes the agent's word. An exit is certain. Health counts as a passed
// check except for the last step up: only this proxy knows that it can reach
// the instance.
func (h *Health) agent(e Evidence, r HealthRules, now int64) (checkNow bool) {
	switch {
	case e.Exited:
		if h.State != Down || h.Cause != CauseExited {
			h.fall(r, "the process has exited", CauseExited, now)
			if e.Detail != "" {
				h.Reason += ": " + e.Detail
			}
		}
		return false
	case e.OK:
		if h.State == Down {
			h.Level = min(h.Level+1, r.Rise-1)
		}
		return h.State != Up
	default:
		return true
	}
}

func (h *Health) rise(r HealthRules, reason string, now int64) {
	h.Level = r.Rise + r.Fall - 1
	h.Cause = CauseNone
	h.set(Up, reason, now)
}

func (h *Health) fall(r HealthRules, reason string, cause Cause, now int64) {
	if h.State == Up || h.State == Suspect {
		h.Downs++
	}
	h.Level, h.Cause = 0, cause
	h.Kept = cause != CauseExited && now-h.doubt < r.Patience.Milliseconds()
	h.set(Down, reason, now)
}

func (h *Health) set(s HealthState, reason string, now int64) {
	if h.State == Down && s != Down {
		h.downTime += max(now-h.Since, 0)
	}
	if h.State != s || h.Since == 0 {
		h.Since = now
	}
	if h.State != s {
		h.changes = append(h.changes, Change{From: h.State, To: s, Reason: reason})
	}
	h.State, h.Reason = s, reason
}

// DownTime returns how long the upstream has been down in all, until now (Unix
// milliseconds).
func (h *Health) DownTime(now int64) time.Duration {
	d := h.downTime
	if h.State == Down {
		d += max(now-h.Since, 0)
	}
	return time.Duration(d) * time.Millisecond
}

// Steady reports whether checks may keep their ordinary pace. While the state is
// about to change they should come faster.
func (h *Health) Steady(rules HealthRules) bool {
	r := rules.withDefaults()
	return h.State == Up && h.Level == r.Rise+r.Fall-1 || h.State == Down && h.Level == 0 && !h.Kept
}

// summary returns the check's outcome in one line.
func (e Evidence) summary() string {
	s := e.Code
	if e.Status != 0 {
		s += " " + strconv.Itoa(e.Status)
	}
	if e.Detail != "" {
		s += " " + e.Detail
	}
	if s == "" {
		return "no detail"
	}
	return s
}
