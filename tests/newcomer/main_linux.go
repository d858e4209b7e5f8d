package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// sayEvery is the time between two words on where it is.
	sayEvery = time.Minute
	// longest is how long one command may take; a slow machine compiles for half an hour, and tests for hours.
	longest = 6 * time.Hour
)

// few are the tests that run where not all do: what the harness needs, and the first command once more.
const few = "^(TestUpShowsASessionThatStays|TestUpPrintsWhatCanBePasted|TestImportsRunDown)$"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "newcomer:", err)
		stop()
		os.Exit(1)
	}
}

// run walks through the places of that name, through all where none is named. What failed is in its error.
func run(ctx context.Context, names []string, out io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("it has to be started by root, to become others")
	}
	chosen := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return len(names) > 0 && !slices.Contains(names, p.name) })
	if len(chosen) == 0 {
		return fmt.Errorf("%q is no place: there are %q", names, placeNames())
	}
	dir, err := os.MkdirTemp("", "newcomer-")
	if err != nil {
		return err
	}
	defer remove(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	v := &visits{dir: dir, out: out, env: plainEnviron()}
	var failed []error
	for _, p := range chosen {
		if err := v.visit(ctx, p); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintf(out, "\n%s\n", strings.Join(v.took, "\n"))
	return errors.Join(failed...)
}

func placeNames() (names []string) {
	for _, p := range places {
		names = append(names, p.name)
	}
	return names
}

// remove takes a folder away, with a cache of modules, whose folders are read-only.
func remove(dir string) {
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(path, 0o755)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}

// visits is one run.
type visits struct {
	dir  string
	out  io.Writer
	env  []string
	took []string // how long each command took
}

// visit runs both commands in one place.
func (v *visits) visit(ctx context.Context, p place) error {
	dir := filepath.Join(v.dir, fmt.Sprint(slices.IndexFunc(places, func(o place) bool { return o.name == p.name })))
	s, err := p.makeIn(dir, clone)
	if err != nil {
		return fmt.Errorf("make the place %q: %w", p.name, err)
	}
	defer remove(dir)
	w := &walk{site: s, env: v.env}
	if w.http, w.admin, err = freeAddrs(); err != nil {
		return err
	}
	if !p.own {
		shared, err := v.sharedCaches()
		if err != nil {
			return err
		}
		w.env = append(slices.Clone(w.env), shared...)
	}
	second := "make test"
	if !p.whole {
		second += " RUN='" + few + "'"
	}
	err = v.timed(ctx, p, p.first, func(ctx context.Context) error { return w.firstCommand(ctx, "sh", "-c", lastInPlace(p.first)) })
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, v.timed(ctx, p, second, func(ctx context.Context) error {
		return w.secondCommand(ctx, v.out, "sh", "-c", second)
	}))
}

// lastInPlace is a line whose last command takes the place of its shell: there, Ctrl-C is for that command.
func lastInPlace(line string) string {
	before, last, more := strings.Cut(line, " && ")
	if !more {
		return "exec " + line
	}
	return before + " && exec " + last
}

// sharedCaches are empty for the first place, and hold for the others what it has compiled. Everybody may write to them.
// Whoever sets GOCACHE and GOMODCACHE has these shared as they are: root's places are tried in minutes then.
func (v *visits) sharedCaches() ([]string, error) {
	if build, modules := os.Getenv("GOCACHE"), os.Getenv("GOMODCACHE"); build != "" && modules != "" {
		return []string{"GOCACHE=" + build, "GOMODCACHE=" + modules}, nil
	}
	dir := filepath.Join(v.dir, "caches")
	env := []string{"GOCACHE=" + filepath.Join(dir, "build"), "GOMODCACHE=" + filepath.Join(dir, "modules")}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, each := range env {
		_, folder, _ := strings.Cut(each, "=")
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return nil, err
		}
	}
	out, err := exec.Command("chmod", "-R", "a+rwX", dir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("open the caches: %w: %s", err, out)
	}
	return env, err
}

// timed runs one command and says each minute that it runs.
func (v *visits) timed(ctx context.Context, p place, command string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	began, ended := time.Now(), make(chan error, 1)
	fmt.Fprintf(v.out, "newcomer: %s: %s\n", p.name, command)
	go func() { ended <- do(ctx) }()
	for say := time.NewTicker(sayEvery); ; {
		select {
		case err := <-ended:
			say.Stop()
			line := fmt.Sprintf("%-7s %7s  %s: %s", "ok", time.Since(began).Round(time.Second), p.name, command)
			if err != nil {
				line = "failed " + strings.TrimPrefix(line, "ok     ")
				err = fmt.Errorf("%s: %s: %w", p.name, command, err)
				fmt.Fprintln(v.out, err)
			}
			fmt.Fprintln(v.out, line)
			v.took = append(v.took, line)
			return err
		case <-say.C:
			fmt.Fprintf(v.out, "newcomer: %s: %s (%s)\n", p.name, command, time.Since(began).Round(time.Second))
		}
	}
}

// clone clones what is committed in the repository of the working folder.
func clone(to string) error {
	out, err := exec.Command("git", "clone", "--quiet", "--no-hardlinks", ".", to).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("git clone: %w: %s", err, out)
	}
	return err
}
