package command

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// fill writes many sites, each with hosts of its own.
func (b *bench) fill(n int) {
	b.t.Helper()
	for i := 0; i < n; i += 500 {
		b.must(func(tx *catalog.Tx) error {
			for j := i; j < min(i+500, n); j++ {
				name := fmt.Sprintf("s%04d", j)
				if err := tx.PutSite(catalog.Site{Name: name, Owner: "op", Manifest: hosts("/", name+".test", "www."+name+".test")}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// With each change of one site the settings of all others were worked out again. What it takes to check a site among 200 is what
// it takes among 20.
func TestCheckHostsLooksAtFewSites(t *testing.T) {
	cost := func(n int, set sites.Settings) (allocs float64) {
		b := newBench(t)
		b.fill(n)
		c := Claim{Site: "s0010", Settings: set.WithDefaults("s0010"), By: "op"}
		return testing.AllocsPerRun(20, func() {
			if err := CheckHosts(b.v, c); err != nil {
				t.Error(err)
			}
		})
	}
	for what, set := range map[string]sites.Settings{
		"as it is": hosts("/", "s0010.test", "www.s0010.test"), "another host": hosts("/", "other.test"), "wildcard": hosts("/", "*.s0010.test"), "every host": hosts("/"),
	} {
		few, many := cost(20, set), cost(200, set)
		if many > few+5 {
			t.Errorf("%s: %.0f allocations among 20 sites, %.0f among 200", what, few, many)
		}
	}
}

// Of two sites that ask for one host at the same moment one gets it, whatever the index of the view knows by then.
func TestHostIsWonOnce(t *testing.T) {
	b := newBench(t)
	b.fill(30)
	for round := range 20 {
		host := fmt.Sprintf("wanted%d.test", round)
		patch := fmt.Appendf(nil, `{"hosts":[%q]}`, host)
		var errs [3]error
		var wg sync.WaitGroup
		for i := range errs {
			site := fmt.Sprintf("s%04d", (round+i)%30)
			wg.Go(func() {
				_, errs[i] = b.c.Update(t.Context(), func(tx *catalog.Tx) error {
					_, _, err := SetOverride(tx, patch, DeployRequest{ID: ids.New(benchTime), Release: catalog.Release{Site: site}, By: "op", Now: benchTime})
					return err
				})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, catalog.ErrConflict) {
				t.Error(err)
			}
		}
		if has := b.c.View().Routes().At(host, "/"); won != 1 || len(has) != 1 {
			t.Fatalf("round %d: %d sites won the host, %d have it", round, won, len(has))
		}
	}
}

// One change can give a site's host to another site.
func TestHostMovesWithinOneChange(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	set := func(tx *catalog.Tx, site, patch string) error {
		_, _, err := SetOverride(tx, []byte(patch), DeployRequest{ID: ids.New(benchTime), Release: catalog.Release{Site: site}, By: "op", Now: benchTime})
		return err
	}
	b.must(func(tx *catalog.Tx) error {
		return errors.Join(set(tx, "s0000", `{"hosts":["new.test"]}`), set(tx, "s0001", `{"hosts":["s0000.test"]}`))
	})
	if err := b.try(func(tx *catalog.Tx) error {
		return errors.Join(set(tx, "s0001", `{"hosts":["twice.test"]}`), set(tx, "s0002", `{"hosts":["twice.test"]}`))
	}); !errors.Is(err, catalog.ErrConflict) {
		t.Error("one change gave a host to two sites:", err)
	}
	b.must(func(tx *catalog.Tx) error {
		return errors.Join(RemoveSite(tx, "s0001", benchTime), set(tx, "s0002", `{"hosts":["s0000.test"]}`))
	})
	if got := b.v.Routes().At("s0000.test", "/"); len(got) != 1 || got[0].Site != "s0002" {
		t.Errorf("the host is that of %v", got)
	}
}

func BenchmarkCheckHosts(b *testing.B) {
	s := newBench(b)
	s.fill(5000)
	c := Claim{Site: "s0010", Settings: hosts("/", "s0010.test", "new.test").WithDefaults("s0010"), By: "op"}
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckHosts(s.v, c); err != nil {
			b.Fatal(err)
		}
	}
}

// What one change of one site costs, with the store.
func BenchmarkSetOverride(b *testing.B) {
	s := newBench(b)
	s.fill(5000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if err := s.override("op", "s0010", fmt.Sprintf(`{"session":{"max":%d}}`, n)); err != nil {
			b.Fatal(err)
		}
	}
}
