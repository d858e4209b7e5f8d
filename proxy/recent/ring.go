// Package recent keeps the last exchanges of the process in memory, so that a request can be told
// of, step by step, after it has ended.
package recent

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/internal/prefetch"
	"portico/proxy/exchange/account"
)

// Exchanges keeps the last exchanges, so that a request can be explained after it
// has ended. There is a lane for each loop of the engine, and a lane is two rings
// of fixed size: of all exchanges, and of those that went wrong, which a busy site
// would push out of the first within a second. Writing copies a few hundred bytes
// and takes a lock that only a reader of the same slot holds; when one does, the
// exchange is left out rather than waited for.
type Exchanges struct {
	boot  uint64 // makes the ids of two processes differ
	lanes []lane
}

type lane struct {
	seq    atomic.Uint64
	last   ring
	failed ring
	_      [64]byte // lanes are written by different processors
}

type ring struct {
	next  atomic.Uint64
	slots []slot
}

type slot struct {
	mu sync.Mutex
	t  trace // guarded by mu; its id is 0 while nothing was written
}

// What a trace keeps of texts that a client chose; longer ones are cut.
const (
	tracedPath   = 120
	tracedHost   = 64
	tracedMethod = 12
	tracedSteps  = 24
	tracedTries  = 3
	tracedError  = 200
)

// trace is what is kept of an exchange: plain values and strings that belong to the
// catalog or the program, so that keeping one allocates nothing. The ring is larger
// than what a processor keeps at hand, so what costs is how many cache lines are
// written: the texts lie together, and what few exchanges have is elsewhere.
type trace struct {
	account.Kept
	trouble   *trouble // nil: none
	pick      pick
	query     bool
	methodLen uint8
	hostLen   uint8
	pathLen   uint8
	steps     uint8
	text      [tracedMethod + tracedHost + tracedPath]byte // method, host and path, without gaps
	step      [tracedSteps]account.Step
}

// tracedLines is what of a slot most exchanges write, in cache lines.
const tracedLines = 9

// trouble is what is kept of an exchange that met some.
type trouble struct {
	lost, lostFrom, err string
	tries               []account.Try // that failed before the last one
}

// pick is why the balancer chose as it did.
type pick struct {
	picked, pinned, began, guess bool
	refused                      seal.Refusal
	none                         balancer.None
}

// New returns rings for about keep exchanges and a quarter as many that
// failed; 0: only ids are given out.
func New(keep int) *Exchanges {
	r := &Exchanges{boot: rand.Uint64(), lanes: make([]lane, runtime.GOMAXPROCS(0))}
	if keep > 0 {
		each := max(8, (keep+len(r.lanes)-1)/len(r.lanes))
		for i := range r.lanes {
			r.lanes[i].last.slots = make([]slot, each)
			r.lanes[i].failed.slots = make([]slot, max(8, each/4))
		}
	}
	return r
}

// ID returns a number for an exchange that no other of this process has, and
// hardly one of another.
func (r *Exchanges) ID(index int) uint64 {
	n := uint64(index) % uint64(len(r.lanes))
	x := r.boot + r.lanes[n].seq.Add(1)*uint64(len(r.lanes)) + n
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // the finisher of splitmix64, which maps no two numbers to one
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return max(1, x^x>>31)
}

// on reports whether exchanges are kept.
func (r *Exchanges) on() bool { return len(r.lanes[0].last.slots) > 0 }

// begin returns the place for the next exchange, locked, or nil when none is kept.
// The caller fills it whole and hands it to end.
func (r *Exchanges) begin(index int) *slot {
	if !r.on() {
		return nil
	}
	return r.lane(index).last.claim()
}

// end files a place that begin gave, and has the processor fetch the next one: it was
// written last a whole ring ago, and waiting for it took longer than filling it.
func (r *Exchanges) end(index int, s *slot) {
	l := r.lane(index)
	if s.t.wrong() {
		if f := l.failed.claim(); f != nil {
			f.t = s.t
			f.mu.Unlock()
		}
	}
	s.mu.Unlock()
	next := &l.last.slots[l.last.next.Load()%uint64(len(l.last.slots))]
	prefetch.Lines(uintptr(unsafe.Pointer(next)), tracedLines)
}

func (r *Exchanges) lane(index int) *lane { return &r.lanes[uint64(index)%uint64(len(r.lanes))] }

// claim returns the oldest slot, locked. One that is being read is left out.
func (r *ring) claim() *slot {
	for range 2 {
		s := &r.slots[(r.next.Add(1)-1)%uint64(len(r.slots))]
		if s.mu.TryLock() {
			return s
		}
	}
	return nil
}

// wrong reports whether something went wrong by this side's fault, though it may have ended well: a client that goes
// away or talks nonsense would fill the ring of failures with what says nothing.
func (t *trace) wrong() bool {
	return t.pick.none != balancer.NoneFull && (t.failed() || t.Retries > 0 || t.lost() != "")
}

// failed reports whether an exchange has ended badly, by this side's fault.
func (t *trace) failed() bool {
	switch {
	case t.pick.none == balancer.NoneFull:
		return false // in the waiting room, where one asks every few seconds
	case t.Status >= 500:
		return true
	case t.Cause == account.CauseNone || t.Cause == account.CauseClient || t.Cause == account.CauseRequest:
		return t.State[0] == 'S' || t.State[0] == 's' || t.State[0] == 'R' || t.State[0] == 'I'
	}
	return true
}

// Keep keeps an exchange that has ended.
func (r *Exchanges) Keep(index int, rec *account.Record, c *balancer.Choice) {
	s := r.begin(index)
	if s == nil {
		return
	}
	s.t.fill(rec, c)
	r.end(index, s)
}

func (t *trace) fill(rec *account.Record, c *balancer.Choice) {
	t.Kept = rec.Kept
	t.pick = pick{
		picked: c.Upstream != nil, pinned: c.Pinned, began: c.New, guess: c.FailOpen,
		refused: c.Refused, none: c.None,
	}
	t.trouble = nil
	if rec.Session != "" || rec.Error != "" || len(rec.Tries) > 0 {
		t.trouble = newTrouble(rec, c)
	}
	t.steps = uint8(copy(t.step[:], rec.Steps))
	path, _, query := strings.Cut(rec.Target, "?")
	t.query = query
	method, host := rec.Method, rec.Host
	method, host, path = method[:min(len(method), tracedMethod)], host[:min(len(host), tracedHost)], path[:min(len(path), tracedPath)]
	t.methodLen, t.hostLen, t.pathLen = uint8(len(method)), uint8(len(host)), uint8(len(path))
	n := copy(t.text[:], method)
	n += copy(t.text[n:], host)
	copy(t.text[n:], path)
}

func newTrouble(rec *account.Record, c *balancer.Choice) *trouble {
	b := &trouble{lost: rec.Session, lostFrom: c.LostFrom, err: brief(rec.Error)}
	for _, t := range rec.Tries[:min(len(rec.Tries), tracedTries)] {
		b.tries = append(b.tries, account.Try{Instance: t.Instance, Error: brief(t.Error)})
	}
	return b
}

// brief is as much of an error as a trace keeps.
func brief(text string) string {
	if len(text) > tracedError {
		return strings.Clone(text[:tracedError])
	}
	return text
}

// lost is the cause for which a session was lost, empty: none was.
func (t *trace) lost() string {
	if t.trouble == nil {
		return ""
	}
	return t.trouble.lost
}

// texts returns what the client named, cut to what is kept.
func (t *trace) texts() (method, host, path []byte) {
	m, h := int(t.methodLen), int(t.methodLen)+int(t.hostLen)
	return t.text[:m], t.text[m:h], t.text[h : h+int(t.pathLen)]
}

// all returns copies of what is kept and wanted, the latest first. The loops go on
// meanwhile.
func (r *Exchanges) all(want func(*trace) bool) []trace {
	var out []trace
	seen := map[uint64]bool{}
	for i := range r.lanes {
		for _, ring := range []*ring{&r.lanes[i].last, &r.lanes[i].failed} {
			for j := range ring.slots {
				s := &ring.slots[j]
				if !s.mu.TryLock() {
					continue // an exchange of this moment is being written
				}
				t := s.t
				s.mu.Unlock()
				if t.ID != 0 && !seen[t.ID] && want(&t) {
					seen[t.ID] = true
					out = append(out, t)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b trace) int { return b.At.Compare(a.At) })
	return out
}
