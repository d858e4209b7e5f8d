//go:build linux

package agent_test

import (
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/tests/support/freeport"
)

// TestRuntimes runs applications of other languages, with sessions in memory or in
// the temporary folder, under the agent's limits.
func TestRuntimes(t *testing.T) {
	for _, tt := range []struct {
		program string
		run     []string
		files   map[string]string
	}{
		{"php", []string{"php", "-S", "127.0.0.1:$PORT"}, map[string]string{
			"index.php": `<?php session_save_path(getenv("TMPDIR")); session_start(); $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1; echo "n=" . $_SESSION["n"];`,
		}},
		{"node", []string{"node", "app.js"}, map[string]string{
			"app.js": `const n = new Map();
require("http").createServer((q, r) => {
  const id = /id=(\w+)/.exec(q.headers.cookie || "")?.[1] || Math.random().toString(36).slice(2);
  n.set(id, (n.get(id) || 0) + 1);
  r.setHeader("Set-Cookie", "id=" + id); r.end("n=" + n.get(id));
}).listen(process.env.PORT, "localhost");`,
		}},
	} {
		t.Run(tt.program, func(t *testing.T) {
			if _, err := exec.LookPath(tt.program); err != nil {
				t.Skipf("%s is not installed", tt.program)
			}
			c := newCluster(t)
			a := c.start(c.options(t.TempDir()))
			rel := c.release(tt.files)
			s := runSettings()
			s.Run = tt.run
			s.Limits.Memory = units.Size(1 << 30)
			c.want(current("shop", rel, s))
			inst := c.awaitHealthy(rel)
			visitor := c.via(a.Addr(), inst.ID+".instance")
			visitor.Jar, _ = cookiejar.New(nil)
			for _, want := range []string{"n=1", "n=2", "n=3"} {
				if got := get(t, visitor, "/"); got != want {
					t.Errorf("the application says %q, want %q", got, want)
				}
			}
		})
	}
}

// TestDiskFull: a release that finds the disk full fails with these words, gives
// its space back, and the site that runs does not notice (G4).
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system of its own needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=48m,mode=755"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	c := newCluster(t)
	a := c.start(c.options(dir))
	good := c.serverRelease("1")
	c.want(current("shop", good, runSettings()))
	inst := c.awaitHealthy(good)
	free := func() uint64 {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		return s.Bavail * uint64(s.Bsize)
	}
	before := free()
	big := make([]byte, 30<<20)
	for i := range big {
		big[i] = byte(i * i >> 8)
	}
	files := map[string]string{"a.bin": string(big), "b.bin": string(big[1:])}
	rel := c.release(files)
	c.want(current("shop", good, runSettings()), candidate("docs", rel, staticSettings(nil), "d1"))
	failed := c.awaitInstance("failed", rel, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
	if !strings.Contains(failed.Progress.Detail, "disk is full") || !strings.Contains(failed.Progress.Detail, dir) {
		t.Errorf("detail is %q", failed.Progress.Detail)
	}
	if body := get(t, c.via(a.Addr(), inst.ID+".instance"), "/"); !strings.HasPrefix(body, inst.ID) {
		t.Errorf("the site beside it says %q", body)
	}
	c.want(current("shop", good, runSettings()))
	eventually(t, "space is given back", func() bool { return free() > before-2<<20 })
}

// TestPortTaken: a process that listens elsewhere than on its port while another
// program has it is not taken for healthy.
func TestPortTaken(t *testing.T) {
	c := newCluster(t)
	o := c.options(t.TempDir())
	port := freeport.Get(t)
	o.Ports.First, o.Ports.Count = port, 1
	c.start(o)
	rel := c.serverRelease("1")
	// The release's process never listens; the test does in its place.
	s := runSettings("-mute")
	s.Deploy.Timeout = units.Duration(waitTime)
	c.want(candidate("shop", rel, s, "d1"))
	c.awaitInstance("started", rel, func(i messages.InstanceReport) bool {
		return i.Progress.Probe != nil && i.Progress.Probe.Code == "L4CON"
	})
	srv := &http.Server{Addr: "127.0.0.1:" + strconv.Itoa(port), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("somebody else")) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ListenAndServe() }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	c.awaitInstance("found out", rel, func(i messages.InstanceReport) bool {
		return i.State == catalog.InstanceExited && strings.Contains(i.Detail, "was taken by another process")
	})
}

// TestHalfDone: what a killed agent was writing is gone when the next one starts.
func TestHalfDone(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	for _, name := range []string{"sites/shop/releases/abc.tmp/file", "sites/shop/data/.portico-seed/file", "objects/tmp/put-1", "agent/.write-1"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.start(c.options(dir))
	for _, name := range []string{"sites/shop/releases/abc.tmp", "sites/shop/data/.portico-seed", "objects/tmp/put-1", "agent/.write-1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}
