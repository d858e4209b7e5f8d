package main

import (
	"os"
	"os/exec"
	"testing"
)

// TestMain lets a test start this program itself.
func TestMain(m *testing.M) {
	if os.Getenv("PORTICO_TEST_VERSION") != "" {
		os.Args = []string{"portico", "version"}
		main()
	}
	os.Exit(m.Run())
}

// What a library has to say at its start is not what a command was asked for.
func TestCommandsPrintTheirOwnWordsOnly(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "PORTICO_TEST_VERSION=1")
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	cmd = exec.Command(exe)
	cmd.Env = append(os.Environ(), "PORTICO_TEST_VERSION=1")
	both, err := cmd.CombinedOutput()
	if err != nil || string(both) != string(out) {
		t.Errorf("beside %q it prints %q: %v", out, both, err)
	}
}
