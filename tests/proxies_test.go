package tests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// Three proxies and two application servers: each proxy serves what was installed at
// the third, any cookie holds at any of them, and one that dies or is revoked takes
// nothing with it.
func TestThreeProxies(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	one := harness.StartProxy(t)
	two := one.AddProxy("proxy-2")
	hasRoles(t, one, map[string]string{"proxy-1": "leader", "proxy-2": "learner"})
	three := two.AddProxy("proxy-3")
	hasRoles(t, three, map[string]string{"proxy-1": "leader", "proxy-2": "voter", "proxy-3": "voter"})
	all := []*harness.Proxy{one, two, three}

	endQuickly(t, all, one.AddServer("server-1"), two.AddServer("server-2"))
	three.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	for _, p := range all {
		settled(t, p, "node", 2)
	}
	visitors := make([]*touring, 6)
	for i := range visitors {
		visitors[i] = newTouring(t, "node.test", all...)
		visitors[i].tour(t, 0, 1, 2)
	}

	// The leader dies: traffic at the others has no error, changes go on.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var requests atomic.Int64
	for i, v := range visitors {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := v.visit(1 + (i+n)%2); err != nil {
					t.Error(err)
					return
				}
				requests.Add(1)
				<-time.After(5 * time.Millisecond)
			}
		})
	}
	one.Kill()
	snapshot := filepath.Join(t.TempDir(), "catalog")
	if err := os.CopyFS(snapshot, os.DirFS(filepath.Join(one.Dir, "catalog"))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	harness.Eventually(t, time.Minute, func() error {
		if r := two.CLI("invite", "--quiet"); r.Code != 0 {
			return fmt.Errorf("invite: %s", r.Stderr)
		}
		return nil
	})
	t.Logf("a change without the leader after %s", time.Since(began).Round(time.Millisecond))
	three.Must("invite", "--quiet")
	cancel()
	wg.Wait()
	t.Logf("%d requests without an error", requests.Load())

	// It catches up, and serves the same visitors.
	one.Restart()
	one.WaitReady()
	hasRoles(t, two, map[string]string{"proxy-1": "", "proxy-2": "", "proxy-3": ""})
	settled(t, one, "node", 2)
	for _, v := range visitors {
		v.tour(t, 0, 1, 2)
	}

	putBack(t, one, two, snapshot)
	hasRoles(t, two, map[string]string{"proxy-1": "", "proxy-2": "", "proxy-3": ""})

	powerCut(t, all)
	for _, v := range visitors {
		v.tour(t, 0, 1, 2)
	}

	// A revoked proxy is out, and ends.
	one.Must("revoke", "proxy-3", "--yes", "--reason", "retired")
	if code := three.Wait(time.Minute); code != 1 {
		t.Errorf("a revoked proxy ends with %d, want 1:\n%s", code, three.Log())
	}
	hasRoles(t, two, map[string]string{"proxy-1": "", "proxy-2": ""})
	for _, v := range visitors {
		v.tour(t, 0, 1)
	}
	three.Restart()
	if code := three.Wait(time.Minute); code != 1 {
		t.Errorf("a revoked proxy that comes back ends with %d, want 1:\n%s", code, three.Log())
	}
}

// powerCut ends all proxies at once, just after a change was acknowledged: it is there afterwards, and so is
// the access of each.
func powerCut(t *testing.T, all []*harness.Proxy) {
	t.Helper()
	before := make([]harness.ClientFile, len(all))
	for i, p := range all {
		before[i] = p.ClientFile()
	}
	all[1].Must("account", "add", "last-moment", "--role", "viewer")
	for _, p := range all {
		p.Signal(os.Kill)
	}
	for _, p := range all {
		p.Kill() // which waits for its end
		p.Restart()
	}
	for i, p := range all {
		p.WaitReady()
		hasRoles(t, p, map[string]string{"proxy-1": "", "proxy-2": "", "proxy-3": ""})
		if out := p.Must("account", "--json"); !strings.Contains(out, "last-moment") {
			t.Errorf("an acknowledged change did not survive a power cut:\n%s", out)
		}
		if after := p.ClientFile(); after != before[i] {
			t.Errorf("after a power cut client.json holds %+v, and held %+v", after, before[i])
		}
		settled(t, p, "node", 2)
	}
}

// putBack gives a proxy an earlier catalog, as a snapshot of its machine does: it says what to do, and
// doing that makes it one of the cluster again.
func putBack(t *testing.T, p, other *harness.Proxy, snapshot string) {
	t.Helper()
	p.Kill()
	files := filepath.Join(p.Dir, "catalog")
	if err := errors.Join(os.RemoveAll(files), os.CopyFS(files, os.DirFS(snapshot))); err != nil {
		t.Fatal(err)
	}
	before := len(p.Log())
	p.Restart()
	harness.Eventually(t, time.Minute, func() error {
		if !strings.Contains(p.Log()[before:], "move "+files+" away and start with --join") {
			return errors.New("a proxy with an earlier catalog does not say what to do")
		}
		return nil
	})
	p.Kill()
	if err := os.Rename(files, files+".earlier"); err != nil {
		t.Fatal(err)
	}
	p.SetEnv("PORTICO_PROXY_JOIN="+other.Admin, "PORTICO_PROXY_FINGERPRINT="+other.Fingerprint())
	p.Restart()
	p.WaitReady()
}

// endQuickly ends a cluster at the end of the test without what a clean end waits for.
func endQuickly(t *testing.T, proxies []*harness.Proxy, servers ...*harness.Agent) {
	t.Cleanup(func() {
		for _, a := range servers {
			a.KillWithSites()
		}
		for _, p := range proxies {
			p.Kill()
		}
	})
}

// hasRoles waits until a proxy sees these with an up-to-date catalog; "" is any role
// that has a vote.
func hasRoles(t *testing.T, p *harness.Proxy, want map[string]string) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		seen := map[string]string{}
		for _, m := range p.Members() {
			if m.Role != catalog.RoleProxy || m.Admission != catalog.Accepted {
				continue
			}
			if m.Catalog == nil || !m.Catalog.Reachable || !m.Catalog.Ready || m.Catalog.Behind > 0 {
				return fmt.Errorf("%s: %+v", m.Name, m.Catalog)
			}
			seen[m.Name] = string(m.Catalog.Role)
			if want[m.Name] == "" && m.Catalog.Role != catalog.ReplicaLearner {
				seen[m.Name] = ""
			}
		}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			return fmt.Errorf("the proxies are %v, not %v", seen, want)
		}
		return nil
	})
}

// touring is a visitor who goes from proxy to proxy with the same cookies.
type touring struct {
	at     []*harness.Visitor
	server string
	views  int
}

func newTouring(t *testing.T, host string, proxies ...*harness.Proxy) *touring {
	t.Helper()
	v := &touring{}
	for _, p := range proxies {
		one := harness.NewVisitor(t, p.HTTP, host)
		if len(v.at) > 0 {
			one.Client.Jar = v.at[0].Client.Jar
		}
		v.at = append(v.at, one)
	}
	return v
}

// visit goes to one proxy and looks whether the session is still the same.
func (v *touring) visit(at int) error {
	got, err := v.at[at].Try("/")
	switch {
	case err != nil:
		return fmt.Errorf("proxy %d: %w", at+1, err)
	case v.server != "" && (got.Server != v.server || got.Views != v.views+1):
		return fmt.Errorf("proxy %d: view %d at %s, want view %d at %s", at+1, got.Views, got.Server, v.views+1, v.server)
	}
	v.server, v.views = got.Server, got.Views
	return nil
}

func (v *touring) tour(t *testing.T, at ...int) {
	t.Helper()
	for _, i := range at {
		if err := v.visit(i); err != nil {
			t.Fatal(err)
		}
	}
}

// A proxy that is left alone serves on with what it knew, also after a restart, and
// refuses changes. What is restored from a backup is a cluster of one: the one that was
// left finds out, ends, and joins anew with the key that it has.
func TestProxyLeftAlone(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	one := harness.StartProxy(t)
	two := one.AddProxy("proxy-2")
	endQuickly(t, []*harness.Proxy{one, two}, one.AddServer("server-1"))
	two.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, two, "node", 1)
	hasRoles(t, two, map[string]string{"proxy-1": "leader", "proxy-2": "learner"})
	v := newTouring(t, "node.test", one, two)
	v.tour(t, 0, 1)
	file := filepath.Join(t.TempDir(), "cluster.backup")
	two.Must("backup", "--out", file)

	one.Kill()
	v.tour(t, 1)
	if r := two.CLI("invite"); r.Code != 1 || !strings.Contains(r.Stderr, "too few of the proxies") {
		t.Errorf("a change without a majority: exit %d %s", r.Code, r.Stderr)
	}
	for _, args := range [][]string{{"deploy", "node", harness.App("node")}, {"drain", "server-1"}} {
		if r := two.CLI(args...); r.Code != 1 || !strings.Contains(r.Stderr, "too few of the proxies") || !strings.Contains(r.Stderr, "nothing was changed") {
			t.Errorf("portico %v without a majority: exit %d %s", args, r.Code, r.Stderr)
		}
	}
	before := two.ClientFile()
	two.Kill()
	two.Restart()
	two.WaitReady()
	settled(t, two, "node", 1)
	v.tour(t, 1)
	if after := two.ClientFile(); after != before {
		t.Errorf("client.json was replaced without a majority: %+v, before %+v", after, before)
	}
	if status := whoami(t, two, "abc.made-up"); status != http.StatusServiceUnavailable {
		t.Errorf("a proxy that cannot know whether a token is right answers %d", status)
	}
	if out := two.Must("members"); !strings.Contains(out, "Changes wait for proxy-1") {
		t.Errorf("portico members does not say what changes wait for:\n%s", out)
	}

	dir := filepath.Join(harness.TempDir(t), "restored")
	if r := harness.Run(t, nil, "--dir", dir, "restore", file, "--key", writeFile(t, "catalog.key", strings.Repeat("x", 32))); r.Code == 0 || !strings.Contains(r.Stderr, "identity/catalog.key of ") {
		t.Errorf("restored with another cluster's key: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	r := harness.Run(t, nil, "--dir", dir, "restore", file, "--name", "proxy-1", "--key", filepath.Join(two.Dir, "identity", "catalog.key"))
	if r.Code != 0 {
		t.Fatalf("restore: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	restored := harness.StartProxyIn(t, dir, "proxy-1", "--admin", one.Admin, "--http", one.HTTP)
	t.Cleanup(restored.Kill)
	if code := two.Wait(time.Minute); code != 1 || !strings.Contains(two.Log(), "another one by now") {
		t.Errorf("the proxy that was left ends with %d:\n%s", code, two.Log())
	}
	if err := os.Rename(filepath.Join(two.Dir, "catalog"), filepath.Join(two.Dir, "catalog.before")); err != nil {
		t.Fatal(err)
	}
	two.Restart()
	two.WaitReady()
	hasRoles(t, restored, map[string]string{"proxy-1": "leader", "proxy-2": "learner"})
	settled(t, restored, "node", 1)
	settled(t, two, "node", 1)
	v.tour(t, 0, 1)
}
