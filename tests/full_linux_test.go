package tests

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestFullDisk: what an operator meets when the state folders of a proxy and an agent are full: visitors are served, a deploy
// says what is wrong, both can be stopped, restarted and emptied.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	harness.NeedRoot(t)
	harness.Need(t, "node")
	tiny := smallDisk(t, "1m")
	fill(t, tiny)
	for _, args := range [][]string{{"proxy", "--http", harness.Addr(t), "--https", harness.Addr(t)}, {"agent", "--listen", harness.Addr(t), "--join", "127.0.0.1:1", "--fingerprint", "sha256:" + strings.Repeat("0", 64)}} {
		r := harness.Run(t, nil, append(args, "--dir", filepath.Join(tiny, "d"), "--gossip", harness.Addr(t), "--set", "admin.address="+harness.Addr(t))...)
		if r.Code == 0 || !strings.Contains(r.Stderr, "The disk is full: make room") {
			t.Errorf("portico %s on a full disk: exit %d\n%s", args[0], r.Code, r.Stderr)
		}
	}

	front, back := smallDisk(t, "48m"), smallDisk(t, "24m")
	p := harness.StartProxyIn(t, filepath.Join(front, "d"), "proxy-1")
	code := strings.TrimSpace(p.Must("invite", "--quiet"))
	dir := filepath.Join(back, "d")
	a := p.StartAgent("server-1", "--code", code, "--dir", dir, "--set", "agent.disk_reserve=0")
	a.Dir = dir
	p.WaitMember("server-1", "accepted")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	settled(t, p, "shop", 1)
	vs, seen := visitors(t, p.HTTP, "shop.test", "/", 3)
	fill(t, front)
	fill(t, back)

	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, time.Minute, logged(p.Process, `msg="configuration reloaded"`))
	if strings.Contains(p.Log(), "needs a restart") {
		t.Error("a reload of what has not changed says that something needs a restart")
	}
	big := changed(t, harness.App("node"), "news.txt", "big")
	noise := make([]byte, 4<<20)
	_, _ = rand.Read(noise)
	write(t, big, "blob", string(noise))
	// The catalog's files may have had room for more; once one has to grow, the catalog stops.
	stopped := "changes are refused until "
	if r := p.CLI("deploy", "shop", big); r.Code != 1 || !strings.Contains(r.Stderr, "the proxy's disk is full") && !strings.Contains(r.Stderr, stopped) {
		t.Errorf("a deploy: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := p.CLI("drain", "server-1"); r.Code == 0 && !strings.Contains(r.Stdout, "3 sessions left") || r.Code != 0 && !strings.Contains(r.Stderr, stopped) {
		t.Errorf("a drain: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	stay(t, vs, seen, "/")

	for range 3 { // each start finds the room that the one before has kept for it
		p.Stop()
		p.Restart()
		p.WaitReady()
		stay(t, vs, seen, "/")
	}
	for _, raw := range []string{"end not announced", "%!"} {
		if strings.Contains(p.Log(), raw) {
			t.Errorf("the log of the proxy says %q:\n%s", raw, p.Log())
		}
	}
	if r := harness.Run(t, nil, "agent", "stop", "--sites", "--dir", dir); r.Code != 0 || len(harness.SiteProcesses(dir)) > 0 {
		t.Errorf("agent stop --sites on a full disk: exit %d, processes %v\n%s", r.Code, harness.SiteProcesses(dir), r.Stderr)
	}
}

// smallDisk is a file system of that size for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := harness.TempDir(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=0755,size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves no room on the file system.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}
