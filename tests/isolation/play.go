package isolation

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scenes is how many seeds are played at a time.
const scenes = 32

// What was late is played so often again, so many at a time.
const (
	replays   = 5
	fewScenes = 3
)

// Seeds are a range of seeds, both ends included.
type Seeds struct{ From, To int }

// Drawn returns the seeds to play: usual ones, or what PORTICO_ISOLATION says: a number of them, or FROM-TO.
func Drawn(t testing.TB, usual int) Seeds {
	t.Helper()
	text := os.Getenv("PORTICO_ISOLATION")
	if text == "" {
		return Seeds{1, usual}
	}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		from, to = "1", text
	}
	a, err := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err != nil || err2 != nil || a < 1 || b < a || b >= 1<<18 {
		t.Fatalf("PORTICO_ISOLATION=%q is neither a number of seeds nor FROM-TO", text)
	}
	return Seeds{a, b}
}

// Timeout is what the proxy should set all its timeouts to that a stalled peer meets.
const Timeout = 1500 * time.Millisecond

// Play plays seeds behind one proxy, some at a time.
func (w *World) Play(t *testing.T, f Front, seeds Seeds) {
	t.Helper()
	w.pause.watch(t)
	w.aborts.Store(abortedForMemory())
	var all []int
	for seed := seeds.From; seed <= seeds.To; seed++ {
		all = append(all, seed)
	}
	w.tell(t, w.some(all, scenes, f))
	w.again(f)
}

// some plays seeds, so many at a time, and returns how many it has played when there are too many faults.
func (w *World) some(seeds []int, atATime int, f Front) (played int) {
	queue := make(chan int)
	var wg sync.WaitGroup
	for range atATime {
		wg.Go(func() {
			for seed := range queue {
				w.play(seed, f)
			}
		})
	}
	for _, seed := range seeds {
		if w.faults.Load() >= mostFaults {
			break
		}
		queue <- seed
		played++
	}
	close(queue)
	wg.Wait()
	return played
}

// again plays what was late once more, with few others about: a busy machine lets go of it some time, a stall does not.
func (w *World) again(f Front) {
	for range replays {
		slow := w.late()
		if len(slow) == 0 {
			return
		}
		w.slow.Clear()
		w.aborts.Store(abortedForMemory())
		w.some(slow[:min(len(slow), scenes)], fewScenes, f)
	}
	for _, seed := range w.late() {
		x, _ := w.slow.Load(seed)
		w.fault(x.(*exchange), "nobody misbehaved, yet it took longer than %v, each of %d times", Timeout, replays+1)
	}
}

// late returns the seeds in which somebody was late who did not misbehave.
func (w *World) late() (seeds []int) {
	w.slow.Range(func(seed, _ any) bool { seeds = append(seeds, seed.(int)); return true })
	slices.Sort(seeds)
	return seeds
}

// play plays one seed to its end.
func (w *World) play(seed int, f Front) {
	sc := draw(seed, w.sites, f)
	w.meet(sc)
	var wg sync.WaitGroup
	for _, c := range sc.clients {
		wg.Go(func() { c.run(w, f) })
	}
	wg.Wait()
}

// tell says what came of it all.
func (w *World) tell(t *testing.T, n int) {
	var lines []string
	w.counts.Range(func(k, v any) bool {
		lines = append(lines, fmt.Sprintf("%7d  %s", v.(*atomic.Int64).Load(), k))
		return true
	})
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[9:], b[9:]) })
	t.Logf("%d seeds; %d exchanges in which nobody misbehaved, %d of them late\n%s", n, w.fairs.Load(), w.lates.Load(), strings.Join(lines, "\n"))
	if n := w.faults.Load(); n > mostFaults {
		t.Errorf("and %d more", n-mostFaults)
	}
}

// starved reports whether the system has reset connections for want of memory since the last scenes began: it does so to those that are
// closed with bytes on their way, which is how origins end their answers.
func (w *World) starved() bool { return abortedForMemory() > w.aborts.Load() }

// pauses notes when the whole program stood still: then a timeout is nobody's fault.
type pauses struct {
	mu   sync.Mutex
	last time.Time // guarded by mu: end of the last pause
}

const (
	pauseTick = 20 * time.Millisecond
	longest   = 300 * time.Millisecond
)

func (p *pauses) watch(t *testing.T) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(stop); wg.Wait() })
	wg.Go(func() {
		tick := time.NewTicker(pauseTick)
		defer tick.Stop()
		for before := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			now := time.Now()
			if now.Sub(before) > longest {
				p.mu.Lock()
				p.last = now
				p.mu.Unlock()
			}
			before = now
		}
	})
}

// since reports whether there was a pause after a time.
func (p *pauses) since(at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.After(at)
}
