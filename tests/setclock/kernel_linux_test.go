package setclock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"portico/tests/harness"
	"portico/tests/support/race"
	"portico/tests/support/usermode"
)

const (
	// verdict begins the line that tells how the test in there has ended.
	verdict = "portico-verdict: "
	// bootTime bounds all of it: it takes half a minute where nothing else runs.
	bootTime = 20 * time.Minute
	// state is the only place in there that can be written to.
	state = "/mnt"

	inside = "TestSetClock"
)

func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		initMain(m)
		return
	}
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

// boot runs the test in a kernel of its own, which sees this machine's files, read-only.
func boot(t *testing.T) {
	t.Helper()
	kernel := harness.Need(t, usermode.Program)
	self, err := plainTest(t)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, kernel, "mem=1G", "uml_dir="+t.TempDir(), "root=/dev/root", "rootfstype=hostfs", "ro",
		"init="+self, "PORTICO="+harness.Binary(t), "con=null", "con0=null,fd:1", "ssl=null", "panic=-1", "quiet")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the kernel and its processes
	console := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = console, console
	if err = usermode.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	out := bytes.ReplaceAll(console.Bytes(), []byte("\r"), nil)
	t.Logf("%v\n%s", err, out)
	if !strings.Contains(string(out), verdict+"0\n") {
		t.Error("the test in the other kernel has not passed")
	}
}

// plainTest is this test as a program. That kernel has no room for the race detector's memory.
func plainTest(t *testing.T) (string, error) {
	if !race.Enabled {
		return os.Executable()
	}
	file := filepath.Join(t.TempDir(), "setclock.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
}

// initMain is the first process of that kernel.
func initMain(m *testing.M) {
	code := 1
	if err := prepare(); err != nil {
		fmt.Println(err)
	} else {
		os.Args = []string{os.Args[0], "-test.run=^" + inside + "$", "-test.v", "-test.timeout=18m"}
		code = m.Run()
	}
	fmt.Printf("%s%d\n", verdict, code)
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// prepare makes of a bare kernel what programs expect.
func prepare() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"cgroup2", "/sys/fs/cgroup"}, {"devtmpfs", "/dev"}, {"tmpfs", state}} {
		if err := syscall.Mount("none", m.at, m.kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for _, e := range []string{"HOME=" + state, "TMPDIR=" + state, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PORTICO_DIR=" + filepath.Join(state, "proxy"), "PORTICO_TLS_ACME="} {
		key, value, _ := strings.Cut(e, "=")
		if err := os.Setenv(key, value); err != nil {
			return err
		}
	}
	return upLoopback()
}

func upLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	var r struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(r.name[:], "lo")
	r.flags = unix.IFF_UP | unix.IFF_RUNNING
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&r))); e != 0 { // an ioctl
		return fmt.Errorf("bring up loopback: %w", e)
	}
	return nil
}
