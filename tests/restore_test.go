package tests

import (
	"path/filepath"
	"strings"
	"testing"

	"portico/tests/harness"
)

// TestRestoredProxyServes: the only proxy of a cluster is lost with its machine. From a backup and its folder identity it comes back, under
// its name, and visitors go on where they were. With the catalog's key alone it says that nobody will know it.
func TestRestoredProxyServes(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	gossip := harness.Addr(t)
	p := harness.StartProxy(t, "--gossip", gossip)
	p.AddServer("server-1")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	vs, seen := visitors(t, p.HTTP, "shop.test", "/", 1)
	backup := filepath.Join(t.TempDir(), "cluster.backup")
	p.Must("backup", "--out", backup)
	saved := filepath.Join(p.Dir, "identity")
	p.Kill()

	alone := filepath.Join(t.TempDir(), "catalog.key")
	copyFile(t, filepath.Join(saved, "catalog.key"), alone)
	if r := harness.Run(t, nil, "--dir", filepath.Join(harness.TempDir(t), "new"), "restore", backup, "--key", alone); r.Code != 0 || !strings.Contains(r.Stderr, "application servers will not know this proxy") {
		t.Errorf("with the catalog's key alone: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	dir := filepath.Join(harness.TempDir(t), "new")
	r := harness.Run(t, nil, "--dir", dir, "restore", backup, "--key", filepath.Join(saved, "catalog.key"))
	if r.Code != 0 || r.Stderr != "" || !strings.Contains(r.Stdout, "--name proxy-1") {
		t.Fatalf("restore: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	restored := harness.StartProxyIn(t, dir, "proxy-1", "--admin", p.Admin, "--http", p.HTTP, "--gossip", gossip)
	settled(t, restored, "shop", 1)
	stay(t, vs, seen, "/")
}
