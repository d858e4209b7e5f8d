package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tree is a folder of groups that belongs to this program.
type Tree struct {
	dir     string
	missing []string // controllers that hold no limit here
}

// controllers that limits need.
var controllers = []string{"cpu", "memory", "pids"}

// Open finds or makes the folder of groups called name. Below a group that
// systemd has delegated to this service (Delegate=, with DelegateSubgroup= for
// its own process) it lies in there; elsewhere it lies at the top, which only
// root may do. Of a service without DelegateSubgroup the groups hold no limits: a
// group that holds processes of its own cannot pass limits on, and if this
// program moved itself away, systemd could not start it again beside sites that
// go on.
func Open(name string) (*Tree, error) {
	mount, err := mountPoint()
	if err != nil {
		return nil, err
	}
	own, err := ownGroup()
	if err != nil {
		return nil, err
	}
	parent := mount
	if up := filepath.Join(mount, filepath.Dir(own)); delegated(up) {
		parent = up
	} else if here := filepath.Join(mount, own); delegated(here) {
		parent = here
	}
	t := &Tree{dir: filepath.Join(parent, name)}
	if err := os.Mkdir(t.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %w: let systemd delegate them to the service (Delegate=yes)", ErrUnsupported, err)
	}
	for _, c := range controllers {
		if enable(parent, c) != nil || enable(t.dir, c) != nil {
			t.missing = append(t.missing, c)
		}
	}
	return t, nil
}

// Missing returns the controllers (cpu, memory, pids) that hold no limit here.
func (t *Tree) Missing() []string { return t.missing }

func enable(dir, controller string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
}

// delegated reports whether systemd has left a group to a service. It says so in
// an extended attribute.
func delegated(dir string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		var b [8]byte
		if n, err := syscall.Getxattr(dir, name, b[:]); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	return false
}

// mountPoint returns where the second version's hierarchy is mounted.
func mountPoint() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for line := range strings.Lines(string(b)) {
		front, back, ok := strings.Cut(line, " - ")
		if f := strings.Fields(front); ok && len(f) > 4 && strings.HasPrefix(back, "cgroup2 ") && f[3] == "/" {
			return f[4], nil
		}
	}
	return "", fmt.Errorf("%w: version 2 is not mounted", ErrUnsupported)
}

// ownGroup returns this process's group, from the mount point on.
func ownGroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for line := range strings.Lines(string(b)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return own, nil
		}
	}
	return "", fmt.Errorf("%w: this process is in none of version 2", ErrUnsupported)
}

// Make makes the group called name, or takes the one that is there, with limits.
// A limit whose controller is missing is left out.
func (t *Tree) Make(name string, l Limits) (Group, error) {
	g := t.Group(name)
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return g, fmt.Errorf("make control group: %w", err)
	}
	for _, s := range l.settings() {
		if slices.Contains(t.missing, s.controller) {
			continue
		}
		if err := os.WriteFile(filepath.Join(g.dir, s.file), []byte(s.value), 0); err != nil && !s.optional {
			_ = os.Remove(g.dir)
			return g, fmt.Errorf("limit control group: %w", err)
		}
	}
	return g, nil
}

type setting struct {
	controller, file, value string
	optional                bool // not every kernel has it
}

// cpuPeriod is the time, in microseconds, over which a share is measured: the
// kernel's default.
const cpuPeriod = 100_000

func (l Limits) settings() (list []setting) {
	if l.Memory > 0 {
		list = append(list,
			setting{controller: "memory", file: "memory.max", value: strconv.FormatInt(l.Memory, 10)},
			// Else it would take the machine's swap in place of memory.
			setting{controller: "memory", file: "memory.swap.max", value: "0", optional: true})
	}
	if l.Processes > 0 {
		list = append(list, setting{controller: "pids", file: "pids.max", value: strconv.Itoa(l.Processes)})
	}
	if l.CPU > 0 {
		list = append(list, setting{controller: "cpu", file: "cpu.max", value: fmt.Sprintf("%d %d", int(math.Round(l.CPU*cpuPeriod)), cpuPeriod)})
	}
	return list
}

// Groups returns the names of the groups that there are.
func (t *Tree) Groups() ([]string, error) {
	entries, err := os.ReadDir(t.dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Remove removes the folder of groups, which must be empty.
func (t *Tree) Remove() error { return syscall.Rmdir(t.dir) }

// Group returns the group called name, whether it exists or not.
func (t *Tree) Group(name string) Group { return Group{filepath.Join(t.dir, name)} }

// Group is one control group.
type Group struct{ dir string }

// Open returns the group's folder for syscall.SysProcAttr.CgroupFD, which starts
// a process in it.
func (g Group) Open() (*os.File, error) {
	return os.OpenFile(g.dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

// OverLimit says, as the rest of a sentence about its end, which limit the kernel
// has killed processes of the group for; empty: none. It knows as long as the
// group exists.
func (g Group) OverLimit() string {
	if g.outOfMemory() {
		return ": its processes together took more than limits.memory"
	}
	return ""
}

// outOfMemory reports whether the kernel has killed processes of the group
// because all of them together took more than its limit.
func (g Group) outOfMemory() bool {
	b, err := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

// endPoll is how often a group that is being ended is looked at.
const endPoll = 5 * time.Millisecond

// End kills every process of the group and of groups in it, and removes it when
// all are gone. A group that does not exist is fine.
func (g Group) End(ctx context.Context) error {
	for {
		err := g.kill()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if rerr := g.remove(); rerr == nil || errors.Is(rerr, fs.ErrNotExist) {
			return nil
		} else if err == nil {
			err = rerr
		}
		select {
		case <-time.After(endPoll):
		case <-ctx.Done():
			return fmt.Errorf("end control group %s: %w", g.dir, err)
		}
	}
}

func (g Group) kill() error {
	err := os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// A kernel before 5.14. Frozen, nothing of it can start what is not seen.
	if err := os.WriteFile(filepath.Join(g.dir, "cgroup.freeze"), []byte("1"), 0); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return errors.Join(err, os.WriteFile(filepath.Join(g.dir, "cgroup.freeze"), []byte("0"), 0))
}

// remove removes the group and those that a process made in it, if all are empty.
func (g Group) remove() error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := (Group{filepath.Join(g.dir, e.Name())}).remove(); err != nil {
				return err
			}
		}
	}
	return syscall.Rmdir(g.dir)
}
