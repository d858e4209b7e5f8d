package proxy_test

import (
	"math"
	"runtime"
	"testing"

	"portico/membership/catalog"
	"portico/tests/support/race"
)

// TestRestTakesLittle: sites and instances that nobody visits take little memory.
func TestRestTakesLittle(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has memory of its own; make test runs this without it")
	}
	const n = 1000
	taken := func(v *catalog.View) int {
		least := math.MaxInt
		for range 3 { // what ends of other tests meanwhile counts, too
			before := inUse()
			s := unserved(t)
			s.Update(v)
			least = min(least, inUse()-before)
			runtime.KeepAlive(s)
		}
		return least
	}
	v := manySites(n)
	bare := *v
	bare.Instances = nil
	_ = taken(&bare)
	none := taken(&catalog.View{Revision: 1})
	sites := taken(&bare) - none
	instances := taken(v) - none - sites
	if site, instance := sites/n, instances/(4*n); site > 8<<10 || instance > 6<<10 {
		t.Errorf("a site takes %d bytes, an instance %d", site, instance)
	} else {
		t.Logf("a site takes %d bytes, an instance %d", site, instance)
	}
}

// inUse is how much memory of the heap and of stacks is used.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
