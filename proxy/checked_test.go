package proxy_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
	"portico/internal/units"
	"portico/membership/catalog"
)

// checkedAt is an instance that is well at one path alone. It counts the checks there, and those elsewhere.
func checkedAt(t *testing.T, path string) (addr string, right, wrong *atomic.Int64) {
	right, wrong = new(atomic.Int64), new(atomic.Int64)
	addr, _ = origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.UserAgent() != "portico-check":
		case r.URL.Path == path:
			right.Add(1)
		default:
			wrong.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	return addr, right, wrong
}

// TestFormerReleaseIsCheckedByItsOwnSettings: each deploy moves the path of the health check, there and back again. What
// runs on for its sessions is asked what its own release says, so that no sound instance is taken for a failing one.
func TestFormerReleaseIsCheckedByItsOwnSettings(t *testing.T) {
	w, agents := newWorld(t, "m1")
	oneAddr, oneRight, oneWrong := checkedAt(t, "/a")
	twoAddr, twoRight, twoWrong := checkedAt(t, "/b")
	agents["m1"].route("one", oneAddr)
	agents["m1"].route("two", twoAddr)
	runs := func(current, retiring, candidate string) {
		w.update(func(v *catalog.View) {
			v.Releases["shop"] = map[string]*catalog.Release{}
			for release, path := range map[string]string{"r1": "/a", "r2": "/b"} {
				m := shop(release).Manifest
				m.Health.Path = path
				v.Releases["shop"][release] = &catalog.Release{Site: "shop", Digest: release, Manifest: m}
			}
			s := shop(current)
			s.Manifest, s.Candidate = v.Releases["shop"][current].Manifest, candidate
			if retiring != "" {
				s.Retiring = []catalog.Retiring{{Release: retiring, Deadline: time.Now().Add(time.Hour)}}
			}
			v.Sites["shop"] = s
		})
	}
	w.update(func(v *catalog.View) {
		v.Instances["one"], v.Instances["two"] = instance("one", "m1", "r1"), instance("two", "m1", "r2")
	})
	for range 2 {
		for _, step := range [][3]string{{"r1", "", "r2"}, {"r2", "r1", ""}, {"r2", "r1", "r1"}, {"r1", "r2", ""}} {
			runs(step[0], step[1], step[2])
			a, b := oneRight.Load(), twoRight.Load()
			w.f.eventually("both are checked", func() bool {
				return oneRight.Load() > a+4 && twoRight.Load() > b+4 || oneWrong.Load()+twoWrong.Load() > 0
			})
		}
	}
	if oneWrong.Load()+twoWrong.Load() > 0 {
		t.Errorf("%d and %d checks asked for what another release says", oneWrong.Load(), twoWrong.Load())
	}
	for _, u := range w.f.Balancer().Pool("shop").Upstreams() {
		if u.State() != balancer.Up || u.Health().Downs > 0 {
			t.Errorf("%s is %s: %+v", u.ID(), u.State(), u.Health())
		}
	}
}

// TestRotationGoesByTheQuestion: whether an instance is in rotation is what a deploy goes by. Checks that asked something
// else do not say so, though it still has its visitors.
func TestRotationGoesByTheQuestion(t *testing.T) {
	w, agents := newWorld(t, "m1")
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	addr, _ := origin(t, func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/late") {
			<-held
		}
	})
	agents["m1"].route("one", addr)
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = shop("r1")
		v.Instances["one"] = instance("one", "m1", "r1")
	})
	w.rotation("one", true)
	w.update(func(v *catalog.View) {
		s := shop("r1")
		s.Manifest.Health.Path, s.Manifest.Health.Timeout = "/late", units.Duration(time.Hour)
		v.Sites["shop"] = s
	})
	if w.f.InRotation("one") {
		t.Error("in rotation by checks of another path")
	}
	if u := w.f.Balancer().Pool("shop").Upstream("one"); !u.InRotation() {
		t.Errorf("a change of settings alone took its visitors away: %s", u.State())
	}
}
