package deployhook

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"portico/deployhook/wanted"
	"portico/membership/catalog"
)

// A view is kept for a member while it asks, and no longer.
func TestSeenViewsGo(t *testing.T) {
	l, v := newLive(), settledView(1)
	l.setSent("app-0", sent{revision: 1, seen: v, looked: time.Now()})
	l.setSent("app-1", sent{revision: 1, seen: v, looked: time.Now().Add(-seenFor - time.Second)})
	l.forget(func(string) bool { return true })
	if s, _ := l.sent("app-0"); s.seen != v {
		t.Error("the view of a member that asks is gone")
	}
	if s, ok := l.sent("app-1"); !ok || s.seen != nil {
		t.Errorf("a member that does not ask has %+v", s)
	}
	// What was found for an earlier answer says nothing of a later one.
	old, _ := l.sent("app-0")
	l.setSent("app-0", sent{revision: 2, seen: v})
	l.saw("app-0", old, settledView(1))
	if s, _ := l.sent("app-0"); s.seen != v {
		t.Error("a view that belongs to the answer before was noted")
	}
}

// A change of one site costs a waiting member the same among any number of sites.
func TestWaitingLooksAtWhatChanged(t *testing.T) {
	cost := func(n int) float64 {
		v := settledView(n)
		views := []*catalog.View{v, changed(v, "s1")}
		i, news := 0, new(wanted.News)
		return testing.AllocsPerRun(20, func() {
			if i++; !news.Same(views[i%2], views[(i+1)%2], "app-1") {
				t.Error("the wanted state is another")
			}
		})
	}
	if few, many := cost(20), cost(400); many > few+20 {
		t.Errorf("%.0f allocations among 20 sites, %.0f among 400", few, many)
	}
}

// BenchmarkWaiting is what one change costs ten waiting members whose wanted states stay as they are, with four instances a site:
// found by what has changed, and made from nothing.
func BenchmarkWaiting(b *testing.B) {
	const members = 10
	for _, n := range []int{20, 5000} {
		v := settledView(n)
		next := changed(v, "s1")
		next.Instances = maps.Clone(v.Instances)
		next.Instances["s1-app-1"] = &catalog.Instance{ID: "s1-app-1", Site: "s1", Release: "r", Member: "app-1", State: catalog.InstanceFailing}
		views := []*catalog.View{v, next}
		b.Run(fmt.Sprint("change/", n), func(b *testing.B) {
			news := new(wanted.News)
			for i := 0; b.Loop(); i++ {
				for m := range members {
					news.Same(views[i%2], views[(i+1)%2], fmt.Sprint("app-", m%4))
				}
			}
		})
		b.Run(fmt.Sprint("whole/", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				for m := range members {
					wanted.Sum(wanted.Of(views[i%2], fmt.Sprint("app-", m%4)))
				}
			}
		})
	}
}
