package balancer_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/tests/support/race"
)

var upstreamIDs = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// crowd is a proxy with eight upstreams and live sessions, each with its cookie. The
// cookies lie one behind the other, so that the processor has the next one at hand, as it
// has a request that was just read; their sessions lie wherever chance has put them in the
// table. They began, and their cookies were issued, within six minutes, and come back later.
type crowd struct {
	*world
	text []byte
	ids  []uint64
	each int // length of a cookie
	n    int
}

func (w *crowd) cookie(i int) []byte {
	i %= w.n
	return w.text[i*w.each : (i+1)*w.each]
}

// at is when the i-th visit of a benchmark takes place, Unix milliseconds: eight in each.
func (w *crowd) at(i int) int64 { return w.now + int64(i)>>3 }

const oneMillion = 1_000_000

func newCrowd(b *testing.B, c balancer.Config, n int) *crowd {
	b.Helper()
	c.Idle = 2 * time.Hour
	w := &crowd{world: newWorld(b, c, upstreamIDs...), n: n}
	for i := range n {
		w.now = t0 + int64(i)*360_000/int64(n)
		choice := w.pick(balancer.Request{})
		w.text = w.p.AppendCookie(w.text, &choice)
		w.ids = append(w.ids, choice.Session)
		w.done(&choice)
	}
	w.now = t0 + 400_000
	for range 20 { // as time passes in a proxy
		w.b.Tick(w.now)
	}
	w.each = len(w.text) / n
	for _, u := range w.p.Upstreams() {
		u.Max.Store(1 << 40) // a choice that is never done would raise the peak each time
	}
	b.ReportAllocs()
	return w
}

// measure runs f b.N times, and reports the processor's nanoseconds for each: other work
// on the machine stretches the clock's.
func measure(b *testing.B, f func(i int)) float64 {
	b.Helper()
	runtime.GC()
	b.ResetTimer()
	before := cpuTime()
	for i := range b.N {
		f(i)
	}
	each := float64(cpuTime()-before) / float64(b.N)
	b.ReportMetric(each, "cpu-ns/op")
	return each
}

// measureParallel is measure on all processors. What they share shows as more time of
// the processors than measure has.
func measureParallel(b *testing.B, f func(i int)) {
	b.Helper()
	runtime.GC()
	b.ResetTimer()
	before := cpuTime()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for i := int(n.Add(1)) * 104_729; pb.Next(); i++ {
			f(i)
		}
	})
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

var answer = balancer.Outcome{Now: t0, Status: 200, BytesIn: 200, BytesOut: 500, Response: time.Millisecond, Total: 2 * time.Millisecond, Reused: true}

// BenchmarkPickPinned is a choice for a visitor with a cookie, a million sessions in the
// table, and nothing else.
func BenchmarkPickPinned(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	var c balancer.Choice
	measure(b, func(i int) { w.mustPick(b, &c, i) })
}

func (w *crowd) mustPick(b *testing.B, c *balancer.Choice, i int) {
	w.p.Pick(c, &balancer.Request{Now: w.at(i), Cookie: w.cookie(i)})
	if !c.Pinned {
		b.Error("no pin:", c.Refused)
	}
}

// BenchmarkPickExpected is the same as the proxies do it: the cookie is announced, then the
// rest of the request is looked at. What that takes is measured as well (rest-ns) and is
// not part of the figure.
func BenchmarkPickExpected(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	agent := []byte("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	addr := make([]byte, 16)
	rest := func(i int) uint64 {
		addr[15] = byte(i)
		return w.b.HashVisitor(addr, agent) + balancer.Hash(addr) + balancer.Hash(agent)
	}
	before := cpuTime()
	var sum uint64
	for i := range b.N {
		sum += rest(i)
	}
	alone := float64(cpuTime()-before) / float64(b.N)
	var c balancer.Choice
	both := measure(b, func(i int) {
		cookie := w.cookie(i)
		w.p.Expect(cookie)
		sum += rest(i)
		w.p.Pick(&c, &balancer.Request{Now: w.at(i), Cookie: cookie, Visitor: sum, Expected: true})
		if !c.Pinned {
			b.Error("no pin:", c.Refused)
		}
	})
	b.ReportMetric(both-alone, "cpu-ns/op")
	b.ReportMetric(alone, "rest-ns/op")
}

// BenchmarkVisitPinned is a choice and its account.
func BenchmarkVisitPinned(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	var c balancer.Choice
	measure(b, func(i int) {
		w.mustPick(b, &c, i)
		w.p.Done(&c, answer)
	})
}

func BenchmarkVisitPinnedParallel(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	measureParallel(b, func(i int) {
		var c balancer.Choice
		w.mustPick(b, &c, i)
		w.p.Done(&c, answer)
	})
}

func BenchmarkPickNewVisitor(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	measure(b, func(i int) {
		c := w.p.Picked(&balancer.Request{Now: t0, Visitor: uint64(i)*2654435761 + 1})
		w.p.Done(&c, answer)
	})
}

// BenchmarkPickUnpinned is a choice on a site without stickiness.
func BenchmarkPickUnpinned(b *testing.B) {
	for _, policy := range sites.Policies() {
		b.Run(string(policy), func(b *testing.B) {
			w := newWorld(b, balancer.Config{Policy: policy, NotSticky: true}, upstreamIDs...)
			for _, u := range w.p.Upstreams() {
				u.Max.Store(1 << 40) // see newCrowd
			}
			var c balancer.Choice
			measure(b, func(i int) {
				w.p.Pick(&c, &balancer.Request{Now: t0 + int64(i)>>3, Hash: uint64(i)*2654435761 + 1})
			})
		})
	}
}

// BenchmarkSweep sweeps an eighth of a million sessions, none of which has ended.
func BenchmarkSweep(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	for range b.N {
		w.b.Sessions().Sweep(t0)
	}
}

func BenchmarkForecast(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	for range b.N {
		w.b.Forecast(w.p.Upstreams()[:1], t0)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, 1)
	for range b.N {
		w.p.Snapshot(t0)
	}
}

// TestMemory holds the promise of 48 bytes a session at a million.
func TestMemory(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("fills the table")
	}
	w := newWorld(t, balancer.Config{}, upstreamIDs...)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const n = 1_000_000
	for i := range n {
		c := w.pick(balancer.Request{})
		w.done(&c)
		if (i+1)%250_000 != 0 {
			continue
		}
		for range 20 { // as time passes in a proxy
			w.b.Tick(w.now)
		}
		each := float64(heap()-before) / float64(i+1)
		st := w.b.Sessions().Stats()
		t.Logf("%.1f bytes a session by the heap, %.1f by the table: %+v", each, float64(st.Bytes)/float64(st.Entries), st)
		if st.Entries != i+1 || st.Evicted != 0 {
			t.Errorf("the table has %d of %d sessions", st.Entries, i+1)
		}
		if each > 48 {
			t.Errorf("a session takes %.1f bytes, want at most 48", each)
		}
	}
	sum := 0
	for _, u := range w.p.Upstreams() {
		sum += u.Sessions()
	}
	if sum != n {
		t.Errorf("upstreams count %d sessions, want %d", sum, n)
	}
	runtime.KeepAlive(w)
}

// BenchmarkPickPinnedFew is the common case: sessions that fit into the cache.
func BenchmarkPickPinnedFew(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, 20_000)
	var c balancer.Choice
	measure(b, func(i int) { w.mustPick(b, &c, i) })
}

// BenchmarkTableUpdate notes the use of one of a million sessions, each in its turn.
func BenchmarkTableUpdate(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, oneMillion)
	var c balancer.Choice
	w.mustPick(b, &c, 0)
	measure(b, func(i int) {
		c.Session = w.ids[i%len(w.ids)]
		w.p.Keep(&c, w.at(i))
	})
}

// BenchmarkUpdate replaces the upstreams of a pool by the same ones.
func BenchmarkUpdate(b *testing.B) {
	w := newCrowd(b, balancer.Config{}, 1)
	for range b.N {
		w.update(w.spec...)
	}
}
