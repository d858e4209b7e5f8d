package agent_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/internal/descriptors"
	"portico/internal/units"
	"portico/membership/catalog/messages"
)

// TestPassedChecksAreNotToldWithoutDescriptors: where visitors have all descriptors that traffic may have, an agent's check passes and says
// nothing of what they get.
func TestPassedChecksAreNotToldWithoutDescriptors(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	s := staticSettings(nil)
	s.Health.Interval = units.Duration(200 * time.Millisecond)
	rel := c.release(map[string]string{"index.html": "home"})
	c.want(current("docs", rel, s))
	inst := c.awaitHealthy(rel)
	r := c.told(a.Addr().String())
	fine := func(x messages.CheckResult) bool { return x.ID == inst.ID && x.OK }
	r.await("a passed check", fine)

	var taken []*os.File
	free := func() {
		for _, f := range taken {
			_ = f.Close()
		}
		taken = nil
	}
	t.Cleanup(free)
	for last := uintptr(0); last < uintptr(few.Cur-descriptors.Kept(few.Cur)); {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		taken, last = append(taken, f), f.Fd()
	}
	r.await("that proxies have to look for themselves", func(x messages.CheckResult) bool {
		return x.ID == inst.ID && !x.OK && x.Code == "L7OK"
	})
	free()
	r.await("a passed check again", fine)
}
