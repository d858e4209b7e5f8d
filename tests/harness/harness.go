// Package harness runs the built program as users do: real processes on
// loopback ports, driven through the command line, HTTP and signals.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/internal/freeport"
)

// Root returns the top folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// App returns the folder of the test application name.
func App(name string) string { return filepath.Join(Root(), "tests", "apps", name) }

var build struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Binary builds the program once for the whole run, with the race detector
// unless PORTICO_TEST_RACE is 0, and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		build.dir, build.err = os.MkdirTemp("", "portico-tests-")
		if build.err != nil {
			return
		}
		build.path = filepath.Join(build.dir, "portico")
		args := []string{"build", "-o", build.path}
		if os.Getenv("PORTICO_TEST_RACE") != "0" {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "./cmd/portico")...)
		cmd.Dir = Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("build portico: %w\n%s", err, out)
			return
		}
		// Site users must be able to run it.
		build.err = errors.Join(os.Chmod(build.dir, 0o755), os.Chmod(build.path, 0o755))
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Cleanup removes what Binary built. TestMain calls it last.
func Cleanup() {
	if build.dir != "" {
		_ = os.RemoveAll(build.dir)
	}
}

// Need skips the test when program is missing, and fails it in CI: there,
// tests/tools.sh has installed everything.
func Need(t testing.TB, program string) string {
	t.Helper()
	if strings.HasPrefix(program, "/") {
		if _, err := os.Stat(program); err == nil {
			return program
		}
	} else if path, err := exec.LookPath(program); err == nil {
		return path
	}
	missing(t, program+" is not installed: run tests/tools.sh")
	return ""
}

// NeedRoot skips the test where it may not make network namespaces or change users.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Addr returns a free loopback address that is the test's own.
func Addr(t testing.TB) string {
	t.Helper()
	return freeport.Addr(t)
}

// Eventually calls check until it returns nil, or fails the test with its last
// error after limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", limit, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// Result is what a finished command left.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs the program with args and waits, at most two minutes. env is added
// to a clean environment.
func Run(t testing.TB, env []string, args ...string) Result {
	t.Helper()
	return RunIn(t, nil, env, args...)
}

// RunIn is Run through the command pre, for instance "ip netns exec a".
func RunIn(t testing.TB, pre, env []string, args ...string) Result {
	t.Helper()
	argv := append(append(append([]string{}, pre...), Binary(t)), args...) // building it is no part of the time
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(cleanEnv(t), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("portico %s: %v", strings.Join(args, " "), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// cleanEnv is an environment without the developer's own portico settings. A
// program with the race detector does not linger for the second that it
// otherwise waits at its end, for the reports of goroutines that still run.
func cleanEnv(t testing.TB) []string {
	env := []string{"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PORTICO_") || strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "GORACE=") {
			continue
		}
		env = append(env, kv)
	}
	return env
}
