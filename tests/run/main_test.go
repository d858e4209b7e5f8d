package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var packages = map[string]string{
	"go.mod":              "module m\n\ngo 1.24\n",
	"good/a_test.go":      "package good\nimport \"testing\"\nfunc TestGood(t *testing.T) { t.Log(\"of no interest\") }\nfunc TestLeftOut(t *testing.T) { t.Skip(\"no anvil here\") }\n",
	"bad/a_test.go":       "package bad\nimport \"testing\"\nfunc TestBad(t *testing.T) {\n\tt.Run(\"sub\", func(t *testing.T) {\n\t\tfor range 500 { t.Log(\"much\") }\n\t\tt.Error(\"seven is not eight\")\n\t})\n}\n",
	"leaking/a_test.go":   "package leaking\nimport (\"fmt\"; \"os\"; \"testing\")\nfunc TestMain(m *testing.M) { m.Run(); fmt.Println(\"found a leak\"); os.Exit(1) }\nfunc TestFine(*testing.T) {}\n",
	"panicking/a_test.go": "package panicking\nimport \"testing\"\nfunc TestPanics(*testing.T) { panic(\"the sky falls\") }\n",
	"broken/a_test.go":    "package broken\nfunc TestBroken( {}\n",
}

// TestRun: what a person has to know of a run is on the screen, the failures last.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range packages {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "")
	var out bytes.Buffer
	code, err := run([]string{"./..."}, &out)
	if code != 1 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	text := out.String()
	for _, want := range []string{
		"ok  \tm/good", "FAIL\tm/bad", "--- FAIL: TestBad/sub", "[… ",
		"left out: 1\n  m/good TestLeftOut: no anvil here\n",
		"    a_test.go:6: seven is not eight\n  m/",
		"m/leaking\n    found a leak\n",
		"m/panicking TestPanics\n    panic: the sky falls",
		"m/broken\n    does not build",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nowhere is %q", want)
		}
	}
	_, end, _ := strings.Cut(text, "\nfailed: ")
	if n := strings.Count(end, "\n"); n > 25 {
		t.Errorf("the failures take %d lines", n)
	}
	if strings.Contains(text, "of no interest") {
		t.Error("a good test's words are printed")
	}
	if code, err := run([]string{"./good"}, &out); code != 0 || err != nil {
		t.Errorf("a good run ends with %d, %v", code, err)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestWhereWeAre: the longest running tests are named, those that wait are not.
func TestWhereWeAre(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	now := time.Unix(1000, 0)
	r.now = func() time.Time { return now }
	for _, name := range []string{"", "TestWaits", "TestLong", "TestLong/sub"} {
		r.take(event{Action: "run", Package: "m/a", Test: name})
	}
	r.take(event{Action: "pause", Package: "m/a", Test: "TestWaits"})
	now = now.Add(40 * time.Second)
	r.take(event{Action: "run", Package: "m/a", Test: "TestShort"})
	r.whereWeAre()
	if got, want := out.String(), "…\tm/a\tTestLong (40s), TestShort (0s)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
