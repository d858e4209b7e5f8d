package harness

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

	"golang.org/x/sys/unix"
)

// Machine is a Host with a systemd of its own as its first process: what the
// example units say is done by what will read them. It sees the files of this
// machine; what it writes is its own and goes away with it.
type Machine struct {
	*Host
	t   testing.TB
	pid int // of its first process, here
}

const systemd = "/lib/systemd/systemd"

// boot makes the file systems of a machine below $1 and becomes its systemd.
// Settings of the kernel and devices are out of its reach.
const boot = `set -e
mount --make-rprivate /
mkdir -p "$1"
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
mkdir dev/pts dev/shm
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
printf '%s\n' 0123456789abcdef0123456789abcdef >etc/machine-id
rm -rf var/lib/portico etc/portico
cp "$2" usr/local/bin/portico
cp "$3"/*.service etc/systemd/system/
pivot_root . mnt
umount -l /mnt
unset NOTIFY_SOCKET
container=portico-test exec ` + systemd + ` --system --unit=sysinit.target --log-target=journal --log-level=info </dev/null
`

// Boot starts a systemd on h, with the program and the example units in place. It needs root, and the
// second version of control groups.
func Boot(t testing.TB, h *Host) *Machine {
	t.Helper()
	NeedRoot(t)
	for _, tool := range []string{systemd, "unshare", "nsenter"} {
		Need(t, tool)
	}
	group := newGroup(t)
	dir := TempDir(t)
	cmd := exec.Command("nsenter", "--net=/run/netns/"+h.Name, "sh", "-c", `echo $$ >"$0" && exec unshare -m -p -f -C -u -i sh -c "$@"`,
		filepath.Join(group, "cgroup.procs"), boot, "boot", dir, Binary(t), filepath.Join(Root(), "docs", "examples"))
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	m := &Machine{Host: h, t: t}
	t.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
		<-done
		if t.Failed() {
			t.Logf("--- console of %s ---\n%s", h.Name, out)
		}
	})
	Eventually(t, time.Minute, func() error {
		select {
		case <-done:
			missing(t, "no systemd can be started here: "+out.String())
		default:
		}
		m.pid = child(cmd.Process.Pid)
		state, err := m.Try("systemctl", "is-system-running")
		if s := strings.TrimSpace(state); s == "running" || s == "degraded" {
			return nil
		}
		return fmt.Errorf("systemd is not up: %s %w", state, err)
	})
	return m
}

// newGroup makes a control group that ends with the test.
func newGroup(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	mount := ""
	for line := range strings.Lines(string(b)) {
		front, back, _ := strings.Cut(line, " - ")
		if f := strings.Fields(front); strings.HasPrefix(back, "cgroup2 ") && len(f) > 4 {
			mount = f[4]
		}
	}
	group, err := os.MkdirTemp(mount, "portico-test-")
	if mount == "" || err != nil {
		missing(t, "no control group can be made here")
	}
	t.Cleanup(func() { removeGroup(t, group) })
	return group
}

func removeGroup(t testing.TB, group string) {
	Eventually(t, time.Minute, func() error {
		var folders []string
		_ = filepath.WalkDir(group, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		for i := len(folders) - 1; i >= 0; i-- {
			if err := unix.Rmdir(folders[i]); err != nil && err != syscall.ENOENT {
				return err
			}
		}
		return nil
	})
}

// child returns a process that pid has started, itself where it has none.
func child(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if f := strings.Fields(string(b)); len(f) > 0 {
		pid, _ = strconv.Atoi(f[0])
	}
	return pid
}

// Try runs a command on the machine and returns its output; what it says beside that is in the error.
func (m *Machine) Try(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience(2*time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(m.pid), "--all", "--wd=/proc/" + strconv.Itoa(m.pid) + "/root"}, argv...)...)
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said)
	}
	return string(out), err
}

// Must is Try that ends the test when the command fails.
func (m *Machine) Must(argv ...string) string {
	m.t.Helper()
	out, err := m.Try(argv...)
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// Put writes a file on the machine.
func (m *Machine) Put(name, text string) {
	m.t.Helper()
	m.Must("sh", "-c", `mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"`, "put", name, text)
}

// PutTree copies a folder to the machine, which need not see it: its /tmp is its own.
func (m *Machine) PutTree(name, from string) {
	m.t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		m.Put(filepath.Join(name, rel), string(text))
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}
