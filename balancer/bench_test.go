package balancer_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
)

var upstreamIDs = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// million returns a world of eight upstreams with n live sessions, and some of
// their cookies.
func million(b *testing.B, c balancer.Config, n int) (*world, [][]byte) {
	b.Helper()
	w := newWorld(b, c, upstreamIDs...)
	var cookies [][]byte
	for i := range n {
		choice := w.pick(balancer.Request{})
		if i%16 == 0 && len(cookies) < 1<<16 {
			cookies = append(cookies, w.p.AppendCookie(nil, &choice))
		}
		w.done(&choice)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return w, cookies
}

var answer = balancer.Outcome{Now: t0, Status: 200, BytesIn: 200, BytesOut: 500, Response: time.Millisecond, Total: 2 * time.Millisecond, Reused: true}

func BenchmarkPickPinned(b *testing.B) {
	w, cookies := million(b, balancer.Config{}, 1_000_000)
	for i := range b.N {
		c := w.p.Pick(&balancer.Request{Now: t0, Cookie: cookies[i%len(cookies)]})
		w.p.Done(&c, answer)
	}
}

// BenchmarkPickPinnedOnly leaves out Done.
func BenchmarkPickPinnedOnly(b *testing.B) {
	w, cookies := million(b, balancer.Config{}, 1_000_000)
	for i := range b.N {
		c := w.p.Pick(&balancer.Request{Now: t0, Cookie: cookies[i%len(cookies)]})
		if c.Upstream == nil {
			b.Fatal(c.None)
		}
	}
}

func BenchmarkPickPinnedParallel(b *testing.B) {
	w, cookies := million(b, balancer.Config{}, 1_000_000)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for i := int(n.Add(1)) * 7919; pb.Next(); i++ {
			c := w.p.Pick(&balancer.Request{Now: t0, Cookie: cookies[i%len(cookies)]})
			w.p.Done(&c, answer)
		}
	})
}

func BenchmarkPickNewVisitor(b *testing.B) {
	w, _ := million(b, balancer.Config{}, 1_000_000)
	for i := range b.N {
		c := w.p.Pick(&balancer.Request{Now: t0, Visitor: uint64(i)*2654435761 + 1})
		w.p.Done(&c, answer)
	}
}

func BenchmarkPickUnpinned(b *testing.B) {
	for _, policy := range balancer.Policies() {
		b.Run(policy, func(b *testing.B) {
			w, _ := million(b, balancer.Config{Policy: policy, NotSticky: true}, 1)
			for i := range b.N {
				c := w.p.Pick(&balancer.Request{Now: t0, Hash: uint64(i)*2654435761 + 1})
				w.p.Done(&c, answer)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	s := mustSealer(b, "shop", vectorKeys())
	value := s.Seal(nil, balancer.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000})
	b.ReportAllocs()
	for b.Loop() {
		if _, refused := s.Open(value); refused != balancer.Honoured {
			b.Fatal(refused)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s := mustSealer(b, "shop", vectorKeys())
	buf := make([]byte, 0, balancer.MaxCookieLen)
	c := balancer.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000}
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Seal(buf[:0], c)
	}
}

// BenchmarkSweep sweeps an eighth of a million sessions, none of which has ended.
func BenchmarkSweep(b *testing.B) {
	w, _ := million(b, balancer.Config{}, 1_000_000)
	for range b.N {
		w.b.Sessions().Sweep(t0)
	}
}

func BenchmarkForecast(b *testing.B) {
	w, _ := million(b, balancer.Config{}, 1_000_000)
	for range b.N {
		w.b.Forecast(w.p.Upstreams()[:1], t0)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	w, _ := million(b, balancer.Config{}, 1)
	for range b.N {
		w.p.Snapshot(t0)
	}
}

// TestMemory holds the promise of 48 bytes a session at a million.
func TestMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
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
	for range n {
		c := w.pick(balancer.Request{})
		w.done(&c)
	}
	each := float64(heap()-before) / n
	st := w.b.Sessions().Stats()
	t.Logf("%.1f bytes a session by the heap, %.1f by the table: %+v", each, float64(st.Bytes)/float64(st.Entries), st)
	if st.Entries != n || st.Evicted != 0 {
		t.Errorf("the table has %d of %d sessions", st.Entries, n)
	}
	if each > 48 {
		t.Errorf("a session takes %.1f bytes, want at most 48", each)
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
	w, cookies := million(b, balancer.Config{}, 20_000)
	for i := range b.N {
		c := w.p.Pick(&balancer.Request{Now: t0, Cookie: cookies[i%len(cookies)]})
		w.p.Done(&c, answer)
	}
}

// BenchmarkTableUpdate notes the use of one of a million sessions.
func BenchmarkTableUpdate(b *testing.B) {
	w := newWorld(b, balancer.Config{}, upstreamIDs...)
	choices := make([]balancer.Choice, 0, 1<<16)
	for i := range 1_000_000 {
		c := w.pick(balancer.Request{})
		if i%16 == 0 && len(choices) < cap(choices) {
			choices = append(choices, c)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.p.Keep(&choices[i%len(choices)], t0)
	}
}

// BenchmarkUpdate replaces the upstreams of a pool by the same ones.
func BenchmarkUpdate(b *testing.B) {
	w, _ := million(b, balancer.Config{}, 1)
	for range b.N {
		w.update(w.spec...)
	}
}
