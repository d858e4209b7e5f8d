package cgroup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/deployhook/agent/cgroup"
)

// memberTask is set for a process of a group that is to do something there.
const memberTask = "PORTICO_TEST_MEMBER"

// TestLimits: the kernel holds a group's processes to what Make was asked for.
// Where this machine has not all controllers, a kernel of its own in user mode
// has them.
func TestLimits(t *testing.T) {
	name := "portico-test-" + strconv.Itoa(os.Getpid())
	tree, err := cgroup.Open(name)
	if err != nil || len(tree.Missing()) > 0 {
		if err == nil {
			_ = tree.Remove()
		}
		inUserMode(t)
		return
	}
	t.Cleanup(func() {
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
	})
	t.Run("memory", func(t *testing.T) { memoryHeld(t, tree) })
	t.Run("processes", func(t *testing.T) { processesHeld(t, tree) })
	t.Run("cpu", func(t *testing.T) { cpuHeld(t, tree) })
}

// memoryHeld: who takes more than the limit is killed, and the group says why;
// who takes less is not.
func memoryHeld(t *testing.T, tree *cgroup.Tree) {
	const limit = 32 << 20
	for _, tt := range []struct {
		name string
		take int
		over bool
	}{{"under", limit / 2, false}, {"over", limit * 2, true}} {
		m := join(t, tree, cgroup.Limits{Memory: limit}, "take", tt.take)
		said, err := m.end()
		if over := err != nil; over != tt.over || strings.Contains(said, "took") == tt.over {
			t.Errorf("%s: %v, said %q", tt.name, err, said)
		}
		if why := m.group.OverLimit(); strings.Contains(why, "more than limits.memory") != tt.over || !tt.over && why != "" {
			t.Errorf("%s: the reason is %q", tt.name, why)
		}
	}
}

// processesHeld: a group has room for its number of processes and threads.
func processesHeld(t *testing.T, tree *cgroup.Tree) {
	const limit = 30
	m := join(t, tree, cgroup.Limits{Processes: limit}, "start", 2*limit)
	said, err := m.end()
	n, _ := strconv.Atoi(strings.TrimPrefix(said, "started "))
	// The process that starts them has up to ten threads of its own.
	if err != nil || n < limit-10 || n >= limit {
		t.Errorf("a group with room for %d: %q, %v", limit, said, err)
	}
	m = join(t, tree, cgroup.Limits{Processes: limit}, "start", limit-10)
	if said, err := m.end(); err != nil || said != fmt.Sprintf("started %d", limit-10) {
		t.Errorf("a group with room for %d: %q, %v", limit, said, err)
	}
}

// cpuHeld: a group that burns processors gets its share of them.
func cpuHeld(t *testing.T, tree *cgroup.Tree) {
	for share, want := range map[float64]string{0.01: "1000 100000", 0.29: "29000 100000", 1.5: "150000 100000", 10_000: "1000000000 100000"} {
		g := makeGroup(t, tree, cgroup.Limits{CPU: share})
		if got := read(t, g, "cpu.max"); got != want {
			t.Errorf("cpu.max for %v is %q, want %q", share, got, want)
		}
	}
	m := join(t, tree, cgroup.Limits{CPU: 0.2}, "burn", 1)
	defer m.end()
	defer m.cmd.Process.Kill()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // a period of the kernel's, in which it holds back once
		throttled, err := strconv.Atoi(stat(read(t, m.group, "cpu.stat"), "nr_throttled"))
		if err == nil && throttled >= 3 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("throttled %d times in a minute, %v", throttled, err)
		}
	}
	used, err := strconv.Atoi(stat(read(t, m.group, "cpu.stat"), "usage_usec"))
	if took := time.Since(m.start); err != nil || used == 0 || time.Duration(used)*time.Microsecond > took*2/5 {
		t.Errorf("a fifth of a processor for %v is %dµs, %v", took, used, err)
	}
}

// member is this program as a process of a group of its own.
type member struct {
	cmd   *exec.Cmd
	out   *strings.Builder
	group cgroup.Group
	start time.Time
}

func makeGroup(t *testing.T, tree *cgroup.Tree, l cgroup.Limits) cgroup.Group {
	t.Helper()
	names, err := tree.Groups()
	if err != nil {
		t.Fatal(err)
	}
	g, err := tree.Make(strconv.Itoa(len(names)), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := g.End(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

// join starts a process in a new group that does task n times.
func join(t *testing.T, tree *cgroup.Tree, l cgroup.Limits, task string, n int) *member {
	t.Helper()
	m := &member{group: makeGroup(t, tree, l), out: new(strings.Builder), start: time.Now()}
	dir, err := m.group.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	m.cmd = exec.Command("/proc/self/exe")
	m.cmd.Env = []string{memberTask + "=" + task, "N=" + strconv.Itoa(n), "GOMAXPROCS=1"}
	m.cmd.Stdout, m.cmd.Stderr = m.out, os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return m
}

// end waits for the member's end and returns what it said.
func (m *member) end() (string, error) {
	err := m.cmd.Wait()
	return m.out.String(), err
}

// read returns what is in one of a group's files.
func read(t *testing.T, g cgroup.Group, file string) string {
	t.Helper()
	dir, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	b, err := os.ReadFile(filepath.Join(dir.Name(), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// stat returns the value of one line of a file such as cpu.stat.
func stat(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+" "); ok {
			return v
		}
	}
	return ""
}

// memberMain is what a member does.
func memberMain(task string) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	switch task {
	case "take":
		b := make([]byte, n)
		for i := 0; i < n; i += 4096 {
			b[i] = 1
		}
		fmt.Print("took ", len(b))
	case "start":
		fmt.Print("started ", startMany(n))
	case "burn":
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		}
	}
}

// startMany starts up to n processes that wait and returns how many it could.
func startMany(n int) int {
	var started int
	for ; started < n; started++ {
		// Only forked, so that each is one thread: none runs a program.
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			break
		}
		if pid == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, 1, 0, 0) // whose end is waited for
			for {
				_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
	}
	return started
}
