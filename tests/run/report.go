package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// headLines and tailLines of a failed test's output are printed: the first hold what
	// it found, the last how it ended.
	headLines, tailLines = 60, 60
	lineBytes            = 400
	// firstFinds and lastFinds of what it found are repeated at the end.
	firstFinds, lastFinds = 3, 2
	// namedTests is how many running tests of a package are named.
	namedTests = 4
)

// test is one in a package; its name is empty for the package itself.
type test struct{ pkg, name string }

// report gathers events and prints what is worth a line.
type report struct {
	out     io.Writer
	said    map[test][]string  // output so far, of those that have not ended
	started map[test]time.Time // that run, or wait for other tests
	paused  map[test]bool      // that wait
	failed  []string           // what to repeat at the end
	blamed  map[test]bool      // of which a test below is in failed
	left    []string
	now     func() time.Time
}

func newReport(out io.Writer) *report {
	return &report{
		out: out, said: map[test][]string{}, started: map[test]time.Time{}, paused: map[test]bool{}, blamed: map[test]bool{}, now: time.Now,
	}
}

// follow takes events until there are no more.
func (r *report) follow(events <-chan event) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			r.take(e)
		case <-look.C:
			r.whereWeAre()
		}
	}
}

func (r *report) take(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "start", "run":
		r.started[t] = r.now()
	case "pause":
		r.paused[t] = true
	case "cont":
		delete(r.paused, t)
		r.started[t] = r.now()
	case "output":
		r.keep(t, e.Output)
	case "pass", "skip", "fail":
		if e.FailedBuild != "" {
			r.said[t] = []string{"does not build: " + e.FailedBuild + "\n"}
		}
		r.ended(t, e.Action)
	}
}

// keep holds a line until it is known how the test ends. A package's own lines say how it went.
func (r *report) keep(t test, line string) {
	if t.name == "" && (strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "? ")) {
		if line != "FAIL\n" && !strings.Contains(line, "[no test files]") {
			fmt.Fprint(r.out, line)
		}
		return
	}
	r.said[t] = append(r.said[t], short(line))
}

func short(line string) string {
	if len(line) > lineBytes {
		return line[:lineBytes] + " […]\n"
	}
	return line
}

func (r *report) ended(t test, how string) {
	lines := r.said[t]
	delete(r.said, t)
	delete(r.started, t)
	delete(r.paused, t)
	switch {
	case how == "skip" && t.name != "":
		r.left = append(r.left, title(t)+": "+reason(lines))
	case how == "fail":
		r.fail(t, lines)
	}
}

// fail prints what a test said, and keeps for the end what it found.
func (r *report) fail(t test, lines []string) {
	for _, line := range middleOut(lines, headLines, tailLines) {
		fmt.Fprint(r.out, line)
	}
	found := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !isFinding(l) })
	if len(found) == 0 {
		if r.blamed[t] {
			return // for one of its tests
		}
		found = slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l == "PASS\n" })
	}
	text := title(t)
	for _, line := range middleOut(found, firstFinds, lastFinds) {
		text += "\n    " + strings.TrimSpace(line)
	}
	r.failed = append(r.failed, text)
	r.blamed[test{t.pkg, ""}] = true
	for name := t.name; name != ""; {
		name = name[:max(strings.LastIndexByte(name, '/'), 0)]
		r.blamed[test{t.pkg, name}] = true
	}
}

// isFinding reports whether a line is a word of the test, not of what it ran.
func isFinding(line string) bool {
	place, _, ok := strings.Cut(line, ": ")
	return ok && strings.Contains(place, "_test.go:") && !strings.Contains(line, " level=") || strings.HasPrefix(line, "panic:") || strings.Contains(line, "DATA RACE")
}

// middleOut leaves out the middle of what is longer than its first and last lines.
func middleOut(lines []string, first, last int) []string {
	if len(lines) <= first+last {
		return lines
	}
	out := slices.Clone(lines[:first])
	out = append(out, fmt.Sprintf("    [… %d lines …]\n", len(lines)-first-last))
	return append(out, lines[len(lines)-last:]...)
}

// reason is what a test said when it was skipped.
func reason(lines []string) string {
	for _, line := range lines {
		if _, text, ok := strings.Cut(line, "_test.go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return strings.TrimSpace(text)
			}
		}
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "===") && !strings.Contains(line, "--- SKIP") {
			return strings.TrimSpace(line)
		}
	}
	return "no reason given"
}

func title(t test) string {
	if t.name == "" {
		return t.pkg
	}
	return t.pkg + " " + t.name
}

// whereWeAre names what runs, the longest first.
func (r *report) whereWeAre() {
	running := map[string][]test{}
	for t := range r.started {
		if !r.paused[t] && !strings.Contains(t.name, "/") {
			running[t.pkg] = append(running[t.pkg], t)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(running)) {
		tests := slices.DeleteFunc(running[pkg], func(t test) bool { return t.name == "" })
		slices.SortFunc(tests, func(a, b test) int {
			return cmp.Or(r.started[a].Compare(r.started[b]), strings.Compare(a.name, b.name))
		})
		var names []string
		for _, t := range tests[:min(namedTests, len(tests))] {
			names = append(names, fmt.Sprintf("%s (%s)", t.name, r.now().Sub(r.started[t]).Round(time.Second)))
		}
		fmt.Fprintf(r.out, "…\t%s\t%s\n", pkg, strings.Join(names, ", "))
	}
}

// end says what failed and what was left out.
func (r *report) end() {
	slices.Sort(r.left)
	if len(r.left) > 0 {
		fmt.Fprintf(r.out, "\nleft out: %d\n", len(r.left))
	}
	for _, text := range r.left {
		fmt.Fprintln(r.out, " ", text)
	}
	if len(r.failed) > 0 {
		fmt.Fprintf(r.out, "\nfailed: %d\n", len(r.failed))
	}
	for _, text := range r.failed {
		fmt.Fprintln(r.out, " ", text)
	}
}
