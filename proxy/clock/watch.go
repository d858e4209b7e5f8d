package clock

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer"
)

// slack is by how much the system's clock may jump without a word: what is less makes no session older.
const slack = time.Second

// Watch notices that the system's clock was set, or that the machine was suspended, by the clock that
// nobody sets.
type Watch struct {
	bal   *balancer.Balancer
	log   *slog.Logger
	began time.Time
	last  atomic.Pointer[reading]
	total atomic.Int64 // milliseconds that the clock was set by in all
	mu    sync.Mutex   // held while somebody tells of a set
}

// reading is what both clocks showed at a moment.
type reading struct {
	wall   int64         // Unix milliseconds
	steady time.Duration // since Watch.began
}

// New returns a watch that tells bal, and log.
func New(bal *balancer.Balancer, log *slog.Logger) *Watch {
	w := &Watch{bal: bal, log: log, began: time.Now()}
	w.last.Store(w.read(w.began))
	return w
}

func (w *Watch) read(t time.Time) *reading {
	return &reading{wall: t.UnixMilli(), steady: t.Sub(w.began)}
}

// step is by how much the clock was set between two readings.
func (r *reading) step(wall int64, steady time.Duration) time.Duration {
	return time.Duration(wall-r.wall)*time.Millisecond - (steady - r.steady)
}

// Millis is the time for the balancer, in Unix milliseconds. Whoever is first to see that the
// clock was set tells the balancer before it goes on.
func (w *Watch) Millis(t time.Time) int64 {
	wall := t.UnixMilli()
	if w.last.Load().step(wall, t.Sub(w.began)).Abs() <= slack {
		return wall
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.read(time.Now()) // t may be from before it was set
	if by := w.last.Load().step(now.wall, now.steady); by.Abs() > slack {
		w.log.Warn("the system's clock was set, or the machine was suspended: sessions are no older for that", "by", by.Round(time.Second))
		w.bal.ClockSet(by, now.wall)
		w.total.Add(by.Milliseconds())
		w.last.Store(now)
	}
	return now.wall
}

// Now is the time of day, which the balancer may be asked by: it has been told if the clock was set.
func (w *Watch) Now() time.Time {
	w.Millis(time.Now())
	return time.Now()
}

// Moment is a time that was taken before something lasted, which may be longer than the clock stood as it was.
type Moment struct {
	wall  int64 // Unix milliseconds
	total int64 // what the clock had been set by until then
}

// Moment returns it for a time that Millis has given.
func (w *Watch) Moment(wall int64) Moment { return Moment{wall, w.total.Load()} }

// After is what the clock shows so much later, in Unix milliseconds, without a look at it.
func (w *Watch) After(m Moment, d time.Duration) int64 {
	return m.wall + d.Milliseconds() + w.total.Load() - m.total
}

// PretendSet lets it look as if the system's clock had just been set by so much, for tests.
func (w *Watch) PretendSet(by time.Duration) {
	r := *w.last.Load()
	r.wall -= by.Milliseconds()
	w.last.Store(&r)
}
