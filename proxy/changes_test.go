package proxy_test

import (
	"log/slog"
	"regexp"
	"testing"

	"portico/balancer"
	"portico/tests/support/written"
)

// TestLogHasEveryChangeOfState: the log of an instance's state goes on where the line before ended, also where it was a
// request that found the instance wanting.
func TestLogHasEveryChangeOfState(t *testing.T) {
	a := newApp(t, "a")
	o := options()
	log := &written.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	c := site(a.addr)
	f := start(t, o, c)
	v := visitor(t, f)
	get(t, v, "http://shop.test/")
	u := f.Balancer().Pool("shop").Upstreams()[0]
	a.kill()
	f.eventually("a request finds it gone", func() bool {
		if resp, err := v.Get("http://shop.test/"); err == nil {
			_ = resp.Body.Close()
		}
		return u.State() == balancer.Down
	})
	line := regexp.MustCompile(`msg="instance changed state" site=shop instance=\S+ from=(\w+) to=(\w+) reason=.`)
	state := "unverified"
	f.eventually("the log says that it is down", func() bool {
		all := line.FindAllStringSubmatch(log.String(), -1)
		return len(all) > 0 && all[len(all)-1][2] == "down"
	})
	for _, m := range line.FindAllStringSubmatch(log.String(), -1) {
		if m[1] != state {
			t.Fatalf("the instance was %s, and then changed from %s:\n%s", state, m[1], log)
		}
		state = m[2]
	}
}
