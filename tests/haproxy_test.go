package tests

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/internal/written"
	"portico/tests/harness"
)

// A real HAProxy reads the export, serves the sites, keeps the sessions that
// portico pinned, and portico keeps those that HAProxy pinned.
func TestHAProxyServesTheExport(t *testing.T) {
	t.Parallel()
	haproxy := harness.Need(t, "haproxy")
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	p.Must("deploy", "docs", harness.App("static"), "--host", "node.test", "--path", "/docs")

	dir := harness.TempDir(t)
	bind := harness.Addr(t)
	p.Must("export", "haproxy", "--out", dir, "--http", bind, "--https", "")
	cfg := filepath.Join(dir, "haproxy.cfg")
	if out, err := exec.Command(haproxy, "-c", "-f", cfg).CombinedOutput(); err != nil || strings.Contains(string(out), "[WARNING]") {
		t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	log := &written.Buffer{}
	cmd := exec.Command(haproxy, "-db", "-f", cfg)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("--- log of HAProxy ---\n%s", log.Tail(30))
		}
	})
	harness.Eventually(t, time.Minute, func() error {
		_, err := harness.NewVisitor(t, bind, "node.test").Try("/")
		return err
	})

	pinned, seen := visitors(t, p.HTTP, "node.test", "/", 8)
	for i, v := range pinned {
		through(v, bind)
		if got := v.Get("/"); got.Server != seen[i].Server || got.Views != 2 {
			t.Errorf("HAProxy moved a session of portico: %+v after %+v", got, seen[i])
		}
	}
	pinned, seen = visitors(t, bind, "node.test", "/", 8)
	if len(spread(seen)) != 2 {
		t.Errorf("through HAProxy 8 visitors are on %v", spread(seen))
	}
	for i, v := range pinned {
		through(v, p.HTTP)
		if got := v.Get("/"); got.Server != seen[i].Server || got.Views != 2 {
			t.Errorf("portico moved a session of HAProxy: %+v after %+v", got, seen[i])
		}
		through(v, bind)
		if got := v.Get("/"); got.Server != seen[i].Server || got.Views != 3 {
			t.Errorf("the sealed cookie confused HAProxy: %+v after %+v", got, seen[i])
		}
	}
	if _, _, err := visitOK(harness.NewVisitor(t, bind, "node.test"), "/docs/"); err != nil {
		t.Errorf("the longer path: %v", err)
	}

	p.Must("drain", "server-1")
	p.Must("export", "haproxy", "--out", dir, "--http", bind, "--https", "")
	if out := p.Must("export", "haproxy"); !strings.Contains(out, "weight 0") {
		t.Error("a draining server has not weight 0")
	}
}

// through sends the visitor's next requests to another proxy.
func through(v *harness.Visitor, addr string) {
	v.Redial(func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) })
}
