package catalog_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"portico/membership/catalog"
)

// step is one acknowledged increment: the value that it made, and when.
type step struct {
	began, ended time.Time
	value        int
}

// Increments of one number by all three proxies, while one after the other goes away
// and comes back, are linearizable: no two make the same value, one that began
// after another had ended makes the greater value, and none is lost.
func TestChangesAreLinearizable(t *testing.T) {
	t.Parallel()
	one := first(t)
	two := one.join("proxy-2")
	three := two.join("proxy-3")
	three.roles(map[string]bool{"proxy-1": true, "proxy-2": true, "proxy-3": true})
	update(t, one.Catalog, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "counter", Deploy: "0"}) })

	all := []*replica{one, two, three}
	var open [3]sync.RWMutex // held by those who use a proxy, alone by whoever closes it
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	histories := make([][]step, 6)
	unknown := make([]int, len(histories))
	for i := range histories {
		at := i % len(all)
		wg.Go(func() {
			for ctx.Err() == nil {
				open[at].RLock()
				s := step{began: time.Now()}
				_, err := all[at].Update(ctx, func(tx *catalog.Tx) error {
					site, err := tx.Site("counter")
					if err != nil {
						return err
					}
					n, err := strconv.Atoi(site.Deploy)
					if err != nil {
						return err
					}
					s.value = n + 1
					site.Deploy = strconv.Itoa(s.value)
					return tx.PutSite(site)
				})
				s.ended = time.Now()
				open[at].RUnlock()
				if err != nil {
					unknown[i]++
				} else {
					histories[i] = append(histories[i], s)
				}
				<-time.After(5 * time.Millisecond)
			}
		})
	}
	for round := range 4 { // whoever leads goes more often than not
		at := round % len(all)
		for i, r := range all {
			for _, s := range r.Replicas(t.Context()) {
				if s.Self && s.Role == catalog.ReplicaLeader && round%2 == 0 {
					at = i
				}
			}
		}
		open[at].Lock()
		all[at].close()
		<-time.After(300 * time.Millisecond)
		all[at].open(nil)
		open[at].Unlock()
		<-time.After(300 * time.Millisecond)
	}
	cancel()
	wg.Wait()

	var steps []step
	lost := 0
	for i := range histories {
		steps = append(steps, histories[i]...)
		lost += unknown[i]
	}
	seen := map[int]bool{}
	for _, a := range steps {
		if seen[a.value] {
			t.Errorf("two changes made the value %d", a.value)
		}
		seen[a.value] = true
		for _, b := range steps {
			if a.ended.Before(b.began) && a.value >= b.value {
				t.Errorf("a change that began later made %d, one before it %d", b.value, a.value)
			}
		}
	}
	var last int
	eventually(t, func() error {
		if _, err := putSite(t.Context(), one.Catalog, "end"); err != nil {
			return err
		}
		var err error
		last, err = strconv.Atoi(one.View().Sites["counter"].Deploy)
		return err
	})
	if last < len(steps) || last > len(steps)+lost {
		t.Errorf("the number is %d after %d acknowledged increments and %d of unknown outcome", last, len(steps), lost)
	}
	t.Logf("%d acknowledged, %d of unknown outcome", len(steps), lost)
}
