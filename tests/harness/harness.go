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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/tests/support/freeport"
)

// Root returns the top folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// App returns the folder of the test application name.
func App(name string) string { return filepath.Join(Root(), "tests", "apps", name) }

// raced are the tests whose program has the race detector, which takes several times the processor
// time: those in which most happens at once in one process. PORTICO_TEST_RACE=1 has it in all, 0 in none.
var raced = map[string]bool{
	"TestAgentRestartUnderLoad": true, "TestInstallOnceAppearsEverywhere": true, "TestOperatorAndSessions": true,
	"TestRevokeCutsAtOnce": true, "TestServerDiesUnderVisitors": true, "TestStreams": true, "TestTakeOver": true,
	"TestThreeProxies": true, "TestTwoProxiesOneCluster": true,
}

// Raced reports whether the test's program has the race detector.
func Raced(t testing.TB) bool {
	switch os.Getenv("PORTICO_TEST_RACE") {
	case "0":
		return false
	case "1":
		return true
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	return raced[name]
}

// build is a program that was built once for the whole run.
type build struct {
	once sync.Once
	dir  string
	path string
	err  error
}

var plain, withRace build

// Binary builds the program, once for each kind, and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	b, usual, args := &plain, usual, []string{"build"}
	if Raced(t) {
		b, usual, args = &withRace, usualRaced, append(args, "-race")
	}
	b.once.Do(func() { b.make(args, usual) })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func (b *build) make(args []string, usual time.Duration) {
	if b.dir, b.err = os.MkdirTemp("", "portico-tests-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "portico")
	// Of a clone that is another user's git says nothing, and Go builds nothing then, unless it need not ask.
	cmd := exec.Command("go", append(args, "-buildvcs=false", "-o", b.path, "./cmd/portico")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build portico: %w\n%s", err, out)
		return
	}
	// Site users must be able to run it.
	b.err = errors.Join(os.Chmod(b.dir, 0o755), os.Chmod(b.path, 0o755))
	measure(b.path, usual)
}

// Cleanup removes what Binary built. TestMain calls it last.
func Cleanup() {
	for _, b := range []*build{&plain, &withRace} {
		if b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
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
// error after limit, see Patience. A look that takes long, because the machine is
// busy with something else, counts for half a second of it, and the next one comes as
// much later: those who wait must not keep the machine busy.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	began, spent := time.Now(), time.Duration(0)
	for {
		look := time.Now()
		err := check()
		if err == nil {
			return
		}
		if Over(spent, limit) || Over(time.Since(began), 4*limit) {
			t.Fatalf("after %v: %v", time.Since(began).Round(time.Second), err)
		}
		<-time.After(min(max(50*time.Millisecond, time.Since(look)), time.Second))
		spent += min(time.Since(look), 500*time.Millisecond)
	}
}

// Result is what a finished command left.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs the program with args and waits, at most five minutes. env is added
// to a clean environment.
func Run(t testing.TB, env []string, args ...string) Result {
	t.Helper()
	return RunIn(t, nil, env, args...)
}

// RunIn is Run through the command pre, for instance "ip netns exec a".
func RunIn(t testing.TB, pre, env []string, args ...string) Result {
	t.Helper()
	argv := append(append(append([]string{}, pre...), Binary(t)), args...) // building it is no part of the time
	ctx, cancel := context.WithTimeout(context.Background(), Patience(5*time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(Env(t), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("portico %s: %v", strings.Join(args, " "), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// Env is an environment without the developer's own portico settings. A
// program with the race detector does not linger for the second that it
// otherwise waits at its end, for the reports of goroutines that still run.
func Env(t testing.TB) []string {
	env := []string{"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0", "PATH=" + searchPath()}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PORTICO_") || strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "GORACE=") || strings.HasPrefix(kv, "PATH=") {
			continue
		}
		env = append(env, kv)
	}
	return env
}

// searchPath is the search path without the developer's own folders, but for those with what sites here run on. Each agent asks every
// language on it for its version, and scripts that choose among versions take a second of the processor for that.
var searchPath = sync.OnceValue(func() string {
	home, err := os.UserHomeDir()
	list := filepath.SplitList(os.Getenv("PATH"))
	if err != nil || home == "/" {
		return os.Getenv("PATH")
	}
	list = slices.DeleteFunc(list, func(dir string) bool {
		return strings.HasPrefix(dir, home+string(filepath.Separator)) && !slices.ContainsFunc([]string{"node", "php", "java"}, func(program string) bool {
			_, err := os.Stat(filepath.Join(dir, program))
			return err == nil
		})
	})
	return strings.Join(list, string(filepath.ListSeparator))
})
