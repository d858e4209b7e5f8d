package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"portico/deployhook/agent/process"
)

// serverBinary is testdata/server, built once.
var serverBinary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "__run" {
		os.Exit(process.Shim(os.Args[2:], os.Stderr))
	}
	if config := os.Getenv("PORTICO_TEST_AGENT"); config != "" {
		os.Exit(agentMain(config))
	}
	if config := os.Getenv("PORTICO_TEST_SWAP"); config != "" {
		os.Exit(swapMain(config))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "portico-agent")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	serverBinary = filepath.Join(dir, "server")
	if runtime.GOOS == "windows" {
		serverBinary += ".exe"
	}
	build := exec.Command("go", "build", "-o", serverBinary, "./testdata/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the test's server: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
