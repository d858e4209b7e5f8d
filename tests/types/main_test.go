package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mistake that only one system's compiler would see is found, with its place,
// and does not touch the others.
func TestMistakeOfOneSystem(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module example\n\ngo 1.24\n",
		"cmd/it/main.go":           "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(answer()) }\n",
		"cmd/it/answer_windows.go": "package main\n\nfunc answer() int { return \"two\" }\n",
		"cmd/it/answer_unix.go":    "//go:build unix\n\npackage main\n\nfunc answer() int { return 2 }\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	if err := run([]string{"linux/arm64", "darwin/arm64"}, io.Discard); err != nil {
		t.Errorf("a program without a mistake there: %v", err)
	}
	err := run([]string{"linux/arm64", "windows/amd64"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "windows/amd64") || !strings.Contains(err.Error(), "answer_windows.go:3") {
		t.Errorf("got %v", err)
	}
}
