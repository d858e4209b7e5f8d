package cgroup_test

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

	"portico/tests/support/usermode"
)

const (
	// verdict begins the line that tells how the tests in there have ended.
	verdict = "portico-verdict: "
	// bootTime bounds all of it: a few seconds, and more than a minute on a machine that has much else to do. The
	// kernel in there says at once when a test of it has failed.
	bootTime = 5 * time.Minute
)

func TestMain(m *testing.M) {
	switch task := os.Getenv(memberTask); {
	case task != "":
		memberMain(task)
	case os.Getpid() == 1 && len(os.Args) > 0 && strings.HasSuffix(os.Args[0], "/init"):
		initMain(m)
	default:
		os.Exit(m.Run())
	}
}

// inUserMode runs the test in a kernel of its own, which has all controllers. It
// sees one folder of this machine, read-only, with this program in it.
func inUserMode(t *testing.T) {
	t.Helper()
	kernel, err := exec.LookPath(usermode.Program)
	if err != nil {
		const what = "no control groups with limits here, and " + usermode.Program + " is not installed: run tests/tools.sh"
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	root, state := t.TempDir(), t.TempDir()
	for _, name := range []string{"dev", "proc", "sys", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(root, "init"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, kernel, "mem=256M", "uml_dir="+state, "root=/dev/root", "rootfstype=hostfs", "rootflags="+root, "ro",
		"init=/init", "con=null", "con0=null,fd:1", "ssl=null", "panic=-1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the kernel and its processes
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err = usermode.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	t.Logf("%v\n%s", err, strings.ReplaceAll(out.String(), "\r", ""))
	if !strings.Contains(out.String(), verdict+"0\r\n") {
		t.Error("the tests in user mode have not passed")
	}
}

// initMain is the first process of that kernel.
func initMain(m *testing.M) {
	code := 1
	if err := mountAll(); err != nil {
		fmt.Println(err)
	} else {
		os.Args = []string{os.Args[0], "-test.run=^TestLimits$", "-test.v", "-test.timeout=" + (bootTime - 30*time.Second).String()}
		code = m.Run()
	}
	fmt.Printf("%s%d\n", verdict, code)
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

func mountAll() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"cgroup2", "/sys/fs/cgroup"}, {"tmpfs", "/tmp"}} {
		if err := syscall.Mount("none", m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := os.WriteFile("/here", nil, 0o600); err == nil {
		return errors.New("the machine's files can be written to")
	}
	return nil
}
