//go:build unix

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/tests/harness"
	"portico/tests/support/etcdtest"
)

// Two proxies share an outside etcd, and two servers run a site whose sessions are in its
// memory. Visitors go through both in turn; deploys, drains and commands go to either; the one that
// leads is killed in the middle of a deploy. Nobody loses a counter.
func TestTwoProxiesOneCluster(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	first, second, etcd := startTogether(t)
	first.AddServer("server-1")
	second.AddServer("server-2")
	second.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	for _, p := range []*harness.Proxy{first, second} {
		settled(t, p, "node", 2)
	}

	vs := &turns{}
	for i := range 12 {
		a, b := harness.NewVisitor(t, first.HTTP, "node.test"), harness.NewVisitor(t, second.HTTP, "node.test")
		b.Client.Jar = a.Client.Jar
		vs.through[0], vs.through[1] = append(vs.through[0], a), append(vs.through[1], b)
		vs.seen = append(vs.seen, vs.through[i%2][i].Get("/"))
	}
	if len(spread(vs.seen)) != 2 {
		t.Fatalf("the visitors are on %v", spread(vs.seen))
	}
	for range 2 {
		vs.stay(t, 0)
		vs.stay(t, 1)
	}
	for _, p := range []*harness.Proxy{first, second} {
		if n := counted(t, p, "node"); n != len(vs.seen) { // each has been at both, and counts once
			t.Errorf("%d sessions are listed, %d visitors came by", n, len(vs.seen))
		}
	}
	drainSeenByBoth(t, first, second, vs)
	endAndMove(t, first, second)
	killTheLeader(t, first, second, vs)

	etcd.Kill() // and a proxy that starts without it serves what it knew
	second.Kill()
	second.Restart()
	second.WaitReady()
	settled(t, second, "node", 2)
	vs.stay(t, 1)
	vs.stay(t, 0)

	etcd.Restart()
	harness.Eventually(t, time.Minute, func() error { // changes are taken again
		if r := second.CLI("sites", "set", "node", "session.idle=20m"); r.Code != 0 {
			return errf("exit %d: %s", r.Code, r.Stderr)
		}
		return nil
	})
}

// startTogether starts two proxies that share an etcd.
func startTogether(t *testing.T) (first, second *harness.Proxy, etcd *etcdtest.Server) {
	t.Helper()
	etcd = etcdtest.Start(t, 16384)
	config := writeFile(t, "portico.toml", fmt.Sprintf("[catalog]\nendpoints = [%q]\nca = %q\ncert = %q\nkey = %q\n", etcd.Endpoint, etcd.CA, etcd.Cert, etcd.Key))
	first = harness.StartProxy(t, "--config", config)
	dir := harness.TempDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "identity"), 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(first.Dir, "identity", "catalog.key"), filepath.Join(dir, "identity", "catalog.key"))
	second = harness.StartProxyIn(t, dir, "proxy-2", "--config", config)
	if a, b := first.ClientFile(), second.ClientFile(); a.Fingerprint != b.Fingerprint || a.Token == b.Token {
		t.Fatalf("the proxies are not of one cluster, or share a token: %s, %s", a.Fingerprint, b.Fingerprint)
	}
	return first, second, etcd
}

// drainSeenByBoth drains a server whose visitors come through the second proxy alone for
// a while: neither proxy may call it empty.
func drainSeenByBoth(t *testing.T, first, second *harness.Proxy, vs *turns) {
	t.Helper()
	n := spread(vs.seen)["server-1"]
	first.Must("drain", "server-1")
	vs.stay(t, 1)
	for _, p := range []*harness.Proxy{first, second} {
		if list := drainsOf(t, p); len(list) != 1 || list[0].Sessions < n || len(list[0].Silent) > 0 {
			t.Errorf("%d visitors on what drains: %+v", n, list)
		}
	}
	if r := second.CLI("drain", "server-1", "--wait", "3s"); r.Code != 4 {
		t.Errorf("the drain ended with its visitors there: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	second.Must("ready", "server-1")
	vs.stay(t, 0)
}

// endAndMove ends a session and moves another at a proxy that has not seen their
// visitors, who come to the other one next, and to this one only then.
func endAndMove(t *testing.T, first, second *harness.Proxy) {
	t.Helper()
	there, seen := visitors(t, second.HTTP, "node.test", "/", 2)
	first.Must("sessions", "end", "node", there[0].Cookie("portico-node"), "--yes")
	first.Must("sessions", "move", "node", there[1].Cookie("portico-node"), "--yes")
	if got := there[0].Get("/"); got.Lost != "" || there[0].Cookie("portico-node") == "" {
		t.Errorf("after its end a session goes on as %+v", got)
	}
	if got := there[1].Get("/"); got.Lost != "cause=operator" || got.Server == seen[1].Server {
		t.Errorf("a session that was to move from %s is on %+v", seen[1].Server, got)
	}
	harness.Eventually(t, time.Minute, func() error { // nobody counts it where it was
		for _, p := range []*harness.Proxy{first, second} {
			var list api.SessionList
			p.JSON(&list, "sessions", "node", "--list", "--member", seen[1].Server, "--cookie", there[1].Cookie("portico-node"), "--json")
			if len(list.Sessions) != 1 || list.Sessions[0].Member == seen[1].Server {
				return errf("it is listed as %+v", list.Sessions)
			}
		}
		return nil
	})
}

// killTheLeader kills the proxy that walks deploys while one runs; the other one
// finishes it. Who was there stays on the former release.
func killTheLeader(t *testing.T, first, second *harness.Proxy, vs *turns) {
	t.Helper()
	dir := changed(t, harness.App("node"), "server.js", "\n// another release\n")
	second.Must("deploy", "node", dir, "--detach")
	first.Kill()
	vs.stay(t, 1)
	harness.Eventually(t, time.Minute, func() error {
		var deploys []catalog.Deploy
		second.JSON(&deploys, "deploys", "--json")
		if len(deploys) != 2 || deploys[0].State != "succeeded" {
			return errf("%+v", deploys)
		}
		return nil
	})
	vs.stay(t, 1)
	_, fresh := visitors(t, second.HTTP, "node.test", "/", 4)
	for _, v := range fresh {
		if v.Release == vs.seen[0].Release {
			t.Errorf("a new visitor is on the former release: %+v", v)
		}
	}
	first.Restart()
	first.WaitReady()
	settled(t, first, "node", 2)
	vs.stay(t, 0)
	vs.stay(t, 1)
}
