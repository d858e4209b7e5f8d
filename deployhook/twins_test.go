package deployhook_test

import (
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/tests/support/etcdtest"
)

// twins are two proxies that share an etcd.
type twins struct {
	one, two *cluster
	cut      atomic.Bool // they do not reach one another
}

func newTwins(t *testing.T) *twins {
	t.Helper()
	s := etcdtest.Start(t, 16384)
	w := &twins{one: makeCluster(t), two: makeCluster(t)}
	w.two.name = "proxy-2"
	for _, c := range []*cluster{w.one, w.two} {
		c.outside = &catalog.Outside{Endpoints: []string{s.Endpoint}, CA: s.CA, Cert: s.Cert, Key: s.Key, Prefix: "portico/"}
		c.start(func(o *deployhook.Options) {
			o.Peer = func(m catalog.Member) (*http.Client, string, error) {
				if w.cut.Load() {
					return nil, "", errors.New("no route to host")
				}
				return &http.Client{Transport: asPeer{"Member", c.name, http.DefaultTransport}}, "http://" + m.Addr, nil
			}
		})
		t.Cleanup(func() { http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
		t.Cleanup(c.stop)
	}
	w.one.update(func(tx *catalog.Tx) error {
		for _, c := range []*cluster{w.one, w.two} {
			m := catalog.Member{
				Name: c.name, ID: c.name, Role: catalog.RoleProxy, Admission: catalog.Accepted, Admin: catalog.AdminReady,
				Addr: c.srv.Listener.Addr().String(), Fingerprint: objects.Sum([]byte(c.name)), Knocked: time.Now().UTC(),
			}
			if err := tx.PutMember(m); err != nil {
				return err
			}
		}
		return nil
	})
	return w
}

// A drain ends only when every proxy has said that nothing is left: sessions that the
// other one has are counted, and while it does not answer there may be some.
func TestDrainWaitsForEveryProxy(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	w.one.join("web1")
	d := w.one.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	w.two.eventually("the other proxy knows the instance", func() bool { return w.two.instanceOf("web1", d.Release) != "" })
	w.two.hold(d.Release, 2)
	if err := w.one.Drain(t.Context(), deployhook.Target{Member: "web1"}, catalog.DrainOrder{By: "ann"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*cluster{w.one, w.two} {
		c.eventually("the drain counts the sessions of both", func() bool {
			list := c.Drains()
			return len(list) == 1 && list[0].Sessions == 2 && !list[0].Recounting
		})
	}
	w.one.eventually("it is written down that there were some", func() bool {
		m := w.one.catalog.View().Members["web1"]
		return m.Drain != nil && m.Drain.Held
	})
	w.one.lookedAt(w.one.instanceOf("web1", d.Release))
	w.cut.Store(true)
	w.two.hold(d.Release, 0)
	w.one.eventually("the silence is told", func() bool {
		list := w.one.Drains()
		return len(list) == 1 && list[0].Recounting && slices.Equal(list[0].Silent, []string{"proxy-2"})
	})
	w.one.lookedAt(w.one.instanceOf("web1", d.Release))
	if told := w.one.outcomes(); len(told) > 0 {
		t.Fatalf("the drain ended while a proxy was silent: %q", told)
	}
	w.cut.Store(false)
	w.one.eventually("the outcome is told", func() bool { return len(w.one.outcomes()) > 0 })
	w.two.eventually("at the other proxy too", func() bool { return len(w.two.outcomes()) == 1 })
}

// A former release stays while the other proxy has sessions there, and an upload to
// the proxy that does not lead is walked by the one that does.
func TestFormerReleaseStaysForTheOtherProxy(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	w.one.join("web1")
	old := w.one.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	w.two.eventually("the other proxy knows the instance", func() bool { return w.two.instanceOf("web1", old.Release) != "" })
	w.two.hold(old.Release, 1)
	w.one.agent("web1").change(func(a *agent) { a.sources = []*cluster{w.one, w.two} })
	next := w.two.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeploySucceeded)
	w.one.eventually("the leader looks at the former release", func() bool {
		return len(w.one.site("shop").Retiring) == 1
	})
	w.one.lookedAt(w.one.instanceOf("web1", old.Release))
	if site := w.one.site("shop"); len(site.Retiring) != 1 || site.Release != next.Release {
		t.Fatalf("%+v", site)
	}
	w.two.hold(old.Release, 0)
	w.one.eventually("the former release goes", func() bool { return len(w.one.site("shop").Retiring) == 0 })
	w.one.eventually("its files are at both proxies", func() bool {
		return w.one.holds(next.Release) && w.two.holds(old.Release)
	})
}

// When the proxy that leads goes, the other one walks on.
func TestAnotherProxyLeads(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	w.one.join("web1")
	w.one.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	w.one.agent("web1").stop()
	w.two.join("web2")
	a := w.two.upload("shop", "", zippedReader(t, map[string]string{"index.html": "two"}))
	if a.status != http.StatusAccepted {
		t.Fatalf("the upload got %d: %s", a.status, a.text)
	}
	if err := w.one.Close(); err != nil { // in the middle of the deploy, or near it
		t.Fatal(err)
	}
	w.two.ended(a.ID, catalog.DeploySucceeded)
}
