package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// smallDisk is a state directory on a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	needRoot(t)
	dir := openDir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+size); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// awaitHeld waits for the report that a site is stopped, and returns what it says.
func (c *cluster) awaitHeld(site, release string) string {
	c.t.Helper()
	return c.awaitInstance(site+" stopped", release, func(i messages.InstanceReport) bool {
		return i.Site == site && i.State == catalog.InstanceExited && i.Progress.Step == catalog.StepFailed && strings.HasPrefix(i.Detail, "stopped: ")
	}).Detail
}

func (c *cluster) awaitSite(site, release string) messages.InstanceReport {
	c.t.Helper()
	return c.awaitInstance(site+" healthy", release, func(i messages.InstanceReport) bool {
		return i.Site == site && i.State == catalog.InstanceHealthy
	})
}

// fill has a site write into a folder of its own.
func fill(t *testing.T, client *http.Client, dir, site, args string) {
	t.Helper()
	res, err := client.Get("https://shop.example/fill?path=" + filepath.Join(dir, "sites", site, "data", "filled") + args)
	if err != nil {
		return // it was stopped before it could answer
	}
	_ = res.Body.Close()
}

// TestDiskLimit: a site with more than limits.disk is stopped and nothing of it
// runs, the words name the setting and the folder, a deploy of it fails with
// them, and it starts again by itself when the files are gone. One that stays a little below is left alone.
func TestDiskLimit(t *testing.T) {
	dir := smallDisk(t, "256m")
	c := newCluster(t)
	a := c.start(c.options(dir))
	rel, next := c.serverRelease("1"), c.serverRelease("2")
	s := runSettings()
	s.Limits.Disk = units.Size(8 << 20)
	c.want(current("greedy", rel, s), current("modest", rel, s))
	greedy, modest := c.awaitSite("greedy", rel), c.awaitSite("modest", rel)
	uid := records(t, dir)["greedy"].UID
	fill(t, c.via(a.Addr(), modest.ID+".instance"), dir, "modest", fmt.Sprintf("&bytes=%d", 15<<19))
	fill(t, c.via(a.Addr(), greedy.ID+".instance"), dir, "greedy", fmt.Sprintf("&bytes=%d", 9<<20))
	why := c.awaitHeld("greedy", rel)
	for _, want := range []string{`limits.disk = "8MiB"`, "9.0 MiB", filepath.Join(dir, "sites", "greedy")} {
		if !strings.Contains(why, want) {
			t.Errorf("the report says %q, %q is missing", why, want)
		}
	}
	if n := usersProcesses(t, uid); len(n) != 0 {
		t.Errorf("its user runs %v", n)
	}
	c.want(current("greedy", rel, s), candidate("greedy", next, s, "d1"), current("modest", rel, s))
	failed := c.awaitInstance("deploy failed", next, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
	if !strings.Contains(failed.Progress.Detail, "limits.disk") {
		t.Errorf("the deploy says %q", failed.Progress.Detail)
	}
	if err := os.Remove(filepath.Join(dir, "sites", "greedy", "data", "filled")); err != nil {
		t.Fatal(err)
	}
	if again := c.awaitSite("greedy", rel); again.ID == greedy.ID {
		t.Error("the ended instance's id comes again")
	}
	c.await("the modest one as it was", func(r messages.Report) bool {
		for _, i := range r.Instances {
			if i.ID == modest.ID && i.State == catalog.InstanceHealthy {
				return true
			}
		}
		return false
	})
}

// TestDiskReserve: of two sites, the one that grows is stopped when the reserve is
// touched, by bytes or by files; the other, with more on disk, and the agent itself go on.
func TestDiskReserve(t *testing.T) {
	for _, tt := range []struct {
		name, mount string
		files       bool
		want        string
	}{
		{"bytes", "128m", false, "agent.disk_reserve"},
		{"files", "128m,nr_inodes=2000", true, "more files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallDisk(t, tt.mount)
			c := newCluster(t)
			o := c.options(dir)
			o.DiskReserve = 64 << 20 // a tenth of the file system is less
			if err := os.MkdirAll(filepath.Join(dir, "sites", "large", "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "sites", "large", "data", "old"), make([]byte, 60<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			a := c.start(o)
			rel := c.serverRelease("1")
			c.want(current("large", rel, runSettings()), current("growing", rel, runSettings()))
			large, growing := c.awaitSite("large", rel), c.awaitSite("growing", rel)
			time.Sleep(3 * time.Second) // both have been counted
			args := fmt.Sprintf("&bytes=%d", leaves(t, dir, 4<<20))
			if tt.files {
				args = fmt.Sprintf("&many=%d", filesLeft(t, dir)-40)
			}
			fill(t, c.via(a.Addr(), growing.ID+".instance"), dir, "growing", args)
			if why := c.awaitHeld("growing", rel); !strings.Contains(why, tt.want) || !strings.Contains(why, dir) {
				t.Errorf("the report says %q, %q is missing", why, tt.want)
			}
			if err := os.WriteFile(filepath.Join(dir, "agent", "probe"), make([]byte, 1<<20), 0o600); err != nil {
				t.Errorf("the agent's own folder: %v", err)
			}
			if body := get(t, c.via(a.Addr(), large.ID+".instance"), "/"); !strings.HasPrefix(body, large.ID) {
				t.Errorf("the other site says %q", body)
			}
			names, _ := filepath.Glob(filepath.Join(dir, "sites", "growing", "data", "filled*"))
			for _, name := range names {
				_ = os.Remove(name)
			}
			c.awaitSite("growing", rel)
		})
	}
}

// leaves returns how much has to be written to a file system so that n bytes are left.
func leaves(t *testing.T, dir string, n int64) int64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail)*s.Bsize - n
}

func filesLeft(t *testing.T, dir string) int {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int(s.Ffree)
}

// TestLogHeld: a site that keeps the agent from cutting its log, by taking a lease on it again and
// again, is stopped before the log is much larger than it may be. Then the log is cut.
func TestLogHeld(t *testing.T) {
	dir := smallDisk(t, "256m")
	c := newCluster(t)
	o := c.options(dir)
	o.LogSize = 1 << 20
	a := c.start(o)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	i := c.awaitSite("shop", rel)
	visitor := c.via(a.Addr(), i.ID+".instance")
	get(t, visitor, "/lease")
	go func() { // the answer may never come
		res, err := visitor.Get("https://shop.example/log?bytes=20000000")
		if err == nil {
			_ = res.Body.Close()
		}
	}()
	// Its end is what lasts: the log can be cut at once then, and the next one starts.
	end := c.awaitInstance("the instance was stopped", rel, func(r messages.InstanceReport) bool {
		return r.ID == i.ID && r.State == catalog.InstanceExited
	})
	if !strings.HasPrefix(end.Detail, "stopped: its log cannot be cut") {
		t.Errorf("the report says %q", end.Detail)
	}
	c.awaitSite("shop", rel)
	fi, err := os.Stat(filepath.Join(dir, "sites", "shop", "log", i.ID+".log"))
	if err != nil || fi.Size() > o.LogSize {
		t.Errorf("the log has %v, %v", fi.Size(), err)
	}
}

// TestLogReserved: what a site reserves for its log beyond its end is taken back.
func TestLogReserved(t *testing.T) {
	dir := smallDisk(t, "256m")
	c := newCluster(t)
	o := c.options(dir)
	o.LogSize = 1 << 20
	a := c.start(o)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	i := c.awaitSite("shop", rel)
	before := leaves(t, dir, 0)
	get(t, c.via(a.Addr(), i.ID+".instance"), fmt.Sprintf("/reserve?bytes=%d", 64<<20))
	eventually(t, "the room is free again", func() bool { return leaves(t, dir, 0) > before-8<<20 })
}
