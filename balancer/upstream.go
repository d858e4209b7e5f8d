package balancer

import (
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer/figures"
	"portico/balancer/policy"
	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// Spec describes an upstream. ID is its identity: an Update with the same ID
// keeps health, counters and sessions.
type Spec struct {
	ID          string // instance id, new for each start of a process
	Name        string // for people and for HAProxy's svname; default: ID
	Member      string // application server that runs it, empty for a static upstream
	Addr        string // host:port
	Port        int    // where the process itself answers on its member's machine; 0: not known
	Release     string // digest, empty for a static upstream
	Zone        string
	Weight      int  // share of new visitors, 1 to 256; 0: 100
	Backup      bool // takes visitors only while no other can
	MaxConns    int  // requests in flight; 0: no limit
	MaxSessions int  // live sessions, a ceiling for new visitors only; 0: none
	Retiring    bool // keeps its sessions, takes no new ones
	Unpinned    bool // keeps no state: another upstream of the same release continues a visit unharmed
	Static      bool // from the configuration file, without an agent
	HTTP2       bool // it speaks HTTP/2 with prior knowledge

	// Started is when the process started, Unix milliseconds; 0: unknown. A
	// session table that is older knows all of its sessions.
	Started int64
}

// DefaultWeight is the weight of an upstream that names none.
const DefaultWeight = 100

// AdminState is what operators want of an upstream, in HAProxy's words.
type AdminState uint8

// The administrative states.
const (
	AdminReady AdminState = iota // takes new visitors
	AdminDrain                   // keeps its sessions, takes no new ones
	AdminMaint                   // takes nothing
)

// String returns the state as snapshots have it.
func (a AdminState) String() string {
	return [...]string{figures.Ready, figures.Drain, figures.Maint}[min(a, AdminMaint)]
}

// Upstream is an instance as the balancer sees it. Its identity and counters
// live as long as its ID stays in the pool.
type Upstream struct {
	pool *Pool
	id   string

	// Read by every Pick, written rarely.
	spec   atomic.Pointer[Spec]
	tokens atomic.Pointer[[2]seal.Token]
	admin  atomic.Uint32 // AdminState
	state  atomic.Uint32 // HealthState, a copy of health.State
	down   atomic.Uint32 // Cause, a copy of health.Cause
	doubt  atomic.Bool   // whether health.doubt is set
	kept   atomic.Bool   // a copy of health.Kept
	away   atomic.Bool   // a copy of health.Away
	gone   atomic.Bool   // no longer in the pool
	seen   atomic.Int64  // started, as a restored table knew it
	heard  int64         // when it came into the pool, Unix milliseconds
	idHash uint64
	sealer *seal.Sealer // that tokens belong to; guarded by pool.mu

	mu      sync.Mutex
	health  Health
	adminAt int64
	why     string            // of the administrative state
	told    map[uint64]func() // called with the next news
	tells   uint64            // how often Tell was called
	changes []Change          // that nobody was told yet
	telling bool              // somebody tells them
	end     Cause             // what removal means for those pinned here; CauseNone: judge by health

	_    [64]byte
	load policy.Load // on cache lines of its own
	_    [64]byte
	Counters
}

// ID returns the instance id.
func (u *Upstream) ID() string { return u.id }

// Spec returns the present description. It must not be changed.
func (u *Upstream) Spec() *Spec { return u.spec.Load() }

// Token returns the token under the key that signs.
func (u *Upstream) Token() seal.Token { return u.tokens.Load()[0] }

// Admin returns the administrative state.
func (u *Upstream) Admin() AdminState { return AdminState(u.admin.Load()) }

// State returns what is believed about its health.
func (u *Upstream) State() HealthState { return HealthState(u.state.Load()) }

// InFlight returns the number of requests that were admitted and are not done.
func (u *Upstream) InFlight() int { return int(u.load.InFlight.Load()) }

// Sessions returns the number of live sessions that the table counts.
func (u *Upstream) Sessions() int { return int(u.load.Seats.Live()) }

// Seats returns what the table of sessions counts.
func (u *Upstream) Seats() *sessions.Seats { return &u.load.Seats }

// Gone reports whether u has left its pool.
func (u *Upstream) Gone() bool { return u.gone.Load() }

// Lifetime returns how long a session lasts: without a request, and in all (0: for ever).
func (u *Upstream) Lifetime() (idle, life time.Duration) {
	c := u.pool.Config()
	return c.Idle, c.Life
}

// Pool returns the name of the pool that u is or was in, which is its site's.
func (u *Upstream) Pool() string { return u.pool.name }

// Health returns a copy of the rise and fall, for whoever shows it.
func (u *Upstream) Health() Health {
	u.mu.Lock()
	defer u.mu.Unlock()
	h := u.health
	h.changes = nil
	return h
}

// Observe takes one piece of evidence at now (Unix milliseconds).
func (u *Upstream) Observe(e Evidence, now int64) Effect {
	rules := u.pool.Config().Health
	if u.spec.Load().Member == "" {
		rules.Grace, rules.Restart, rules.Slow = 0, 0, 0 // nobody but the process itself takes its connections, or would tell of its end
	}
	u.mu.Lock()
	effect := u.health.Observe(e, rules, now)
	news := effect.Changed || u.kept.Load() != u.health.Kept || u.away.Load() != u.health.Away
	u.kept.Store(u.health.Kept) // before the state: a Down that was not kept yet would be a session given up
	u.away.Store(u.health.Away)
	u.down.Store(uint32(u.health.Cause))
	u.state.Store(uint32(u.health.State))
	u.doubt.Store(u.health.doubt != 0)
	u.changes = append(u.changes, u.health.take()...)
	u.mu.Unlock()
	if effect.Changed {
		u.pool.refresh(now)
		u.tellChanges()
	}
	if news {
		u.tell()
	}
	return effect
}

// SetAdmin sets the administrative state; why is shown beside it.
func (u *Upstream) SetAdmin(a AdminState, why string, now int64) {
	u.mu.Lock()
	changed := u.Admin() != a
	if changed {
		u.adminAt = now
	}
	u.why = why
	u.admin.Store(uint32(a))
	u.mu.Unlock()
	if changed {
		u.pool.refresh(now)
		u.tell()
	}
}

// tell calls those who wait for news.
func (u *Upstream) tell() {
	u.mu.Lock()
	told := u.told
	u.told = nil
	u.mu.Unlock()
	for _, f := range told {
		f()
	}
}

// SetEnd says what removal from the pool, and maintenance before it, means for
// visitors who are pinned here, such as CauseDeadline. Without it, and after
// CauseNone, removal is judged by the health at that moment.
func (u *Upstream) SetEnd(c Cause) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.end = c
}

// NextCheck returns how long to wait before the next active check: the interval,
// spread by up to a tenth either way by random, or a quarter of it while the
// state is about to change.
func (u *Upstream) NextCheck(interval time.Duration, random uint64) time.Duration {
	rules := u.pool.Config().Health
	u.mu.Lock()
	steady := u.health.Steady(rules)
	u.mu.Unlock()
	if !steady {
		interval /= 4
	}
	spread := int64(interval / 5)
	if spread <= 0 {
		return interval
	}
	return interval - time.Duration(spread/2) + time.Duration(random%uint64(spread))
}

// Undecided reports whether nobody knows yet if u can be reached: the next
// news may say, see Tell.
func (u *Upstream) Undecided() bool {
	switch u.State() {
	case Up:
		return false
	case Down:
		if !u.kept.Load() || !u.away.Load() {
			return false
		}
	}
	return !u.gone.Load() && u.Admin() != AdminMaint
}

// Doubted returns since when u has been found wanting without an answer to anybody (Unix
// milliseconds); 0: it has not.
func (u *Upstream) Doubted() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.health.doubt
}

// Tell has f called once with the next news of u: the state is another one, sessions are kept, given up, or can be reached again,
// operators want something else of it, or it has left its pool. A request waits for it whose visitor belongs here, after a connection
// failed. f runs on the goroutine that brings the news, so it must not block: to wake a loop is right. Who is no longer
// interested calls forget, any number of times; the news may be on its way then.
func (u *Upstream) Tell(f func()) (forget func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.told == nil {
		u.told = map[uint64]func(){}
	}
	u.tells++
	n := u.tells
	u.told[n] = f
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.told, n)
	}
}

// Failed returns why visitors lose their sessions on u because it is down, or
// CauseNone while it is not, or they are kept.
func (u *Upstream) Failed() Cause {
	if u.State() != Down || u.kept.Load() {
		return CauseNone
	}
	return u.downCause()
}

// downCause returns what visitors who lose their session here are told.
func (u *Upstream) downCause() Cause {
	if c := Cause(u.down.Load()); c != CauseNone {
		return c
	}
	return CauseMember
}

// exited reports whether the process is known to have ended.
func (u *Upstream) exited() bool { return u.State() == Down && Cause(u.down.Load()) == CauseExited }

// rest trusts a suspect again after a while where nobody checks, and reports
// whether it did.
func (u *Upstream) rest(r HealthRules, now int64) bool {
	if !r.Off || u.State() == Up {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.health.State != Suspect || now-u.health.Since < r.Rest.Milliseconds() {
		return false
	}
	u.health.rise(r, "no failed connection for a while", now)
	u.state.Store(uint32(u.health.State))
	u.changes = append(u.changes, u.health.take()...)
	return true
}

// tellChanges tells whoever asked for it what has changed: every step once and in order, whoever made
// it. Requests, checks and agents make them side by side, so one of them tells for all.
func (u *Upstream) tellChanges() {
	f := u.pool.b.changed
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.telling {
		return
	}
	u.telling = true
	for len(u.changes) > 0 {
		list := u.changes
		u.changes = nil
		u.mu.Unlock()
		for _, c := range list {
			if f != nil {
				f(u, c)
			}
		}
		u.mu.Lock()
	}
	u.telling = false
}

// endCause returns what it means for a visitor that u is not in the pool.
func (u *Upstream) endCause() Cause {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.end != CauseNone:
		return u.end
	case u.health.State == Down && u.health.Cause != CauseNone:
		return u.health.Cause
	case u.Admin() == AdminMaint:
		return CauseOperator
	case u.spec.Load().Retiring:
		return CauseDeadline
	}
	return CauseExited
}

// maintCause returns what it means for a visitor that u takes nothing.
func (u *Upstream) maintCause() Cause {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.end != CauseNone {
		return u.end
	}
	return CauseOperator
}

// settle fixes what the end of u means, when it leaves the pool.
func (u *Upstream) settle() {
	cause := u.endCause()
	u.SetEnd(cause)
}
