package agent_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// usersProcesses returns the living processes of a user.
func usersProcesses(t *testing.T, uid int) []int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || strings.Contains(string(b), "State:\tZ") || !strings.Contains(string(b), fmt.Sprintf("Uid:\t%d\t", uid)) {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
		pids = append(pids, pid)
	}
	return pids
}

// ownedBy keeps of pids those whose working folder lies in dir: other agents of
// this machine may have a site of that name.
func ownedBy(pids []int, dir string) (own []int) {
	for _, pid := range pids {
		if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && strings.HasPrefix(cwd, dir) {
			own = append(own, pid)
		}
	}
	return own
}

// TestNothingIsLeft: a process that a site leaves in a session of its own, without
// the agent's mark in its environment, ends with the site and with an agent's
// death, under the capabilities of the shipped unit. So with control groups, and
// without them by the site's user id.
func TestNothingIsLeft(t *testing.T) {
	needRoot(t)
	for _, groups := range []bool{true, false} {
		t.Run(fmt.Sprintf("groups=%v", groups), func(t *testing.T) {
			wrap := asTheUnit(t)
			if !groups {
				wrap = withoutGroups(wrap)
			}
			c := newCluster(t)
			dir := openDir(t)
			ch := c.startChildUnder(t, dir, true, wrap)
			rel := c.serverRelease("1")
			site := "left" + strconv.Itoa(os.Getpid()) + strconv.FormatBool(groups) // no other test has its user
			c.want(current(site, rel, runSettings("-child", "-bare")))
			c.awaitHealthy(rel)
			r := records(t, dir)[site]
			if n := ownedBy(usersProcesses(t, r.UID), dir); len(n) != 2 {
				t.Fatalf("the site's processes are %v", n)
			}
			c.want()
			c.await("no instance left", func(r messages.Report) bool { return len(r.Instances) == 0 })
			if n := usersProcesses(t, r.UID); len(n) != 0 {
				t.Errorf("after the end of the site its user runs %v", n)
			}

			// An agent dies, the site's own process dies, and only the other is left.
			c.want(current(site, rel, runSettings("-child", "-bare")))
			c.awaitInstance("again", rel, func(i messages.InstanceReport) bool { return i.State == catalog.InstanceHealthy && i.ID != r.ID })
			r = records(t, dir)[site]
			ch.kill()
			if p, err := os.FindProcess(r.PID); err == nil {
				_ = p.Kill()
			}
			eventually(t, "only what it left runs", func() bool { return len(usersProcesses(t, r.UID)) == 1 })
			c.want()
			next := c.startChildUnder(t, dir, true, wrap)
			t.Cleanup(func() { next.stop(t) })
			eventually(t, "nothing of it runs", func() bool { return len(usersProcesses(t, r.UID)) == 0 })
		})
	}
}

// withoutGroups hides the second version's hierarchy from a command.
func withoutGroups(wrap func([]string) []string) func([]string) []string {
	return func(argv []string) []string {
		const hide = `for m in $(awk '$9 == "cgroup2" || $10 == "cgroup2" {print $5}' /proc/self/mountinfo); do umount -l "$m" || exit 1; done; exec "$@"`
		return append([]string{"unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh"}, wrap(argv)...)
	}
}

// TestAgentGetsItsPort: a site that took the agent's own port while no agent ran
// loses it.
func TestAgentGetsItsPort(t *testing.T) {
	needRoot(t)
	c := newCluster(t)
	dir := openDir(t)
	first := c.startChildUnder(t, dir, true, asTheUnit(t))
	rel := c.serverRelease("1")
	site := "holder" + strconv.Itoa(os.Getpid())
	c.want(current(site, rel, runSettings()))
	evil := c.via(first.addr, c.awaitHealthy(rel).ID+".instance")
	get(t, evil, fmt.Sprintf("/squat?later=1&port=%d", first.addr.(*net.TCPAddr).Port))
	first.kill()
	r := records(t, dir)[site]
	eventually(t, "the site holds the port", func() bool {
		l, err := net.Listen("tcp", first.addr.String())
		if err == nil {
			_ = l.Close()
			return false
		}
		return true
	})
	next := c.startChildAt(t, dir, first.addr.String(), asTheUnit(t))
	t.Cleanup(func() { next.stop(t) })
	if next.addr.String() != first.addr.String() {
		t.Errorf("the agent listens at %s", next.addr)
	}
	if running(r.PID) {
		t.Error("the process that held the port runs on")
	}
}
