//go:build unix

package command

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico/deployhook/agent/account"
)

// TestProgramThatSitesCannotReach: a program of the agent's search path that lies in a closed folder, or is a link into
// one, is told with the folder, its mode and the user who may not enter; any other is no matter of this rule.
func TestProgramThatSitesCannotReach(t *testing.T) {
	top := t.TempDir()
	home, bin := filepath.Join(top, "home"), filepath.Join(top, "bin")
	for _, dir := range []string{filepath.Join(home, "shims"), bin} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{filepath.Join(home, "shims", "python9"), filepath.Join(bin, "plain9")} {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(home, "shims", "python9"), filepath.Join(bin, "linked9")); err != nil {
		t.Fatal(err)
	}
	for dir, mode := range map[string]os.FileMode{home: 0o700, top: 0o755, filepath.Dir(top): 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(home, "shims")+string(os.PathListSeparator)+bin)
	acc := account.Account{UID: 1234, Name: "portico-shop"}
	for _, name := range []string{"python9", "linked9"} {
		err := shutOut(name, acc)
		for _, want := range []string{name, "user 1234 (portico-shop) may not enter " + home, "mode 0700"} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: %v lacks %q", name, err, want)
			}
		}
	}
	for _, name := range []string{"plain9", "missing9", "./python9", home + "/shims/python9", ""} {
		if err := shutOut(name, acc); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
