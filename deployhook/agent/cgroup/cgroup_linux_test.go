package cgroup_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"portico/deployhook/agent/cgroup"
)

// TestEnd: whatever a process starts ends with its group, though it has a session
// and groups of its own, and nothing of the group is left.
func TestEnd(t *testing.T) {
	name := "portico-test-" + strconv.Itoa(os.Getpid())
	tree, err := cgroup.Open(name)
	if err != nil {
		t.Skipf("groups are for root, on a system with version 2: %v", err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
	})
	g, err := tree.Make("one", cgroup.Limits{Memory: 64 << 20, Processes: 100, CPU: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/bin/sh", "-c", "setsid sleep 301 & setsid sleep 302 & sleep 303")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // some of them have started; those that come later end, too
	again, err := cgroup.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := again.Groups(); err != nil || !slices.Equal(names, []string{"one"}) {
		t.Fatalf("the next one finds %v, %v", names, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := again.Group("one").End(ctx); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := again.Group("one").End(ctx); err != nil {
		t.Errorf("once more: %v", err)
	}
	if names, _ := again.Groups(); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(cmd.Process.Pid)); err == nil {
		t.Error("the process is there")
	}
}
