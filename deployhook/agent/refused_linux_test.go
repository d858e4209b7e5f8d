package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// refuseGroups is the command line that runs another one under a filter on system
// calls, as a container's: clone3, which starts a process in a group, fails with
// an error.
const refuseGroups = "__refuse-groups"

func init() {
	if len(os.Args) < 4 || os.Args[1] != refuseGroups {
		return
	}
	errno, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = filterClone3(syscall.Errno(errno))
	}
	if err == nil {
		err = syscall.Exec(os.Args[3], os.Args[3:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

// filterClone3 makes clone3 fail in this thread and in what it executes.
func filterClone3(errno syscall.Errno) error {
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_CLONE3},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// TestGroupRefused: where the system refuses to start a process in a group, sites
// run without one, and the log says so once for all of them. Where it does not,
// they run in theirs and nothing is said.
func TestGroupRefused(t *testing.T) {
	needRoot(t)
	for _, errno := range []syscall.Errno{0, syscall.ENOSYS, syscall.EPERM} {
		t.Run(strconv.Itoa(int(errno)), func(t *testing.T) {
			if errno == syscall.EPERM && hasC() {
				t.Skip("the C library's threads take only ENOSYS: run the test with CGO_ENABLED=0, as portico is built, to see this one")
			}
			c := newCluster(t)
			dir, log := openDir(t), filepath.Join(t.TempDir(), "log")
			ch := c.startChildUnder(t, dir, true, func(argv []string) []string {
				if errno != 0 {
					argv = append([]string{argv[0], refuseGroups, strconv.Itoa(int(errno))}, argv...)
				}
				return append([]string{"sh", "-c", `exec "$@" 2>"$0"`, log}, argv...)
			})
			rel := c.serverRelease("1")
			one, two := "one"+strconv.Itoa(os.Getpid()), "two"+strconv.Itoa(os.Getpid())
			c.want(current(one, rel, runSettings()), current(two, rel, runSettings()))
			for _, site := range []string{one, two} {
				id := c.awaitInstance(site, rel, func(i messages.InstanceReport) bool {
					return i.Site == site && i.State == catalog.InstanceHealthy
				}).ID
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", records(t, dir)[site].PID))
				if in := strings.Contains(string(b), id); err != nil || in != (errno == 0) {
					t.Errorf("%s in a group of its own: %v, %v: %s", site, in, err, b)
				}
			}
			c.want()
			c.await("no instance left", func(r messages.Report) bool { return len(r.Instances) == 0 })
			ch.stop(t)
			b, err := os.ReadFile(log)
			want := 1
			if errno == 0 {
				want = 0
			}
			if n := strings.Count(string(b), "refuses to start processes in control groups"); err != nil || n != want {
				t.Errorf("told %d times, want %d: %v\n%s", n, want, err, b)
			}
		})
	}
}

// hasC reports whether this program's threads are the C library's.
func hasC() bool {
	info, ok := debug.ReadBuildInfo()
	return !ok || slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "CGO_ENABLED" && s.Value != "0" })
}
