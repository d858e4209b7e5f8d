package proxy

import (
	"sync"
	"sync/atomic"
	"time"
)

// clockSlack is by how much the system's clock may jump without a word: what is less makes no session older.
const clockSlack = time.Second

// clockWatch notices that the system's clock was set, or that the machine was suspended, by the clock that
// nobody sets.
type clockWatch struct {
	began time.Time
	last  atomic.Pointer[reading]
	total atomic.Int64 // milliseconds that the clock was set by in all
	mu    sync.Mutex   // held while somebody tells of a set
}

// reading is what both clocks showed at a moment.
type reading struct {
	wall   int64         // Unix milliseconds
	steady time.Duration // since clockWatch.began
}

func newClockWatch() *clockWatch {
	w := &clockWatch{began: time.Now()}
	w.last.Store(w.read(w.began))
	return w
}

func (w *clockWatch) read(t time.Time) *reading {
	return &reading{wall: t.UnixMilli(), steady: t.Sub(w.began)}
}

// step is by how much the clock was set between two readings.
func (r *reading) step(wall int64, steady time.Duration) time.Duration {
	return time.Duration(wall-r.wall)*time.Millisecond - (steady - r.steady)
}

// millis is the time for the balancer, in Unix milliseconds. Whoever is first to see that the
// clock was set tells the balancer before it goes on.
func (s *Server) millis(t time.Time) int64 {
	w, wall := s.clocks, t.UnixMilli()
	if w.last.Load().step(wall, t.Sub(w.began)).Abs() <= clockSlack {
		return wall
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.read(time.Now()) // t may be from before it was set
	if by := w.last.Load().step(now.wall, now.steady); by.Abs() > clockSlack {
		s.log.Warn("the system's clock was set, or the machine was suspended: sessions are no older for that", "by", by.Round(time.Second))
		s.bal.ClockSet(by, now.wall)
		w.total.Add(by.Milliseconds())
		w.last.Store(now)
	}
	return now.wall
}

// Now is the time of day, which the balancer may be asked by: it has been told if the clock was set.
func (s *Server) Now() time.Time {
	s.millis(time.Now())
	return time.Now()
}

// moment is a time that was taken before something lasted, which may be longer than the clock stood as it was.
type moment struct {
	wall  int64 // Unix milliseconds
	total int64 // what the clock had been set by until then
}

func (s *Server) momentOf(wall int64) moment { return moment{wall, s.clocks.total.Load()} }

// after is what the clock shows so much later, in Unix milliseconds, without a look at it.
func (s *Server) after(m moment, d time.Duration) int64 {
	return m.wall + d.Milliseconds() + s.clocks.total.Load() - m.total
}
