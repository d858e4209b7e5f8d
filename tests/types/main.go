// Command types checks the whole program for other systems without compiling it:
// every file that the system would compile is parsed, the functions of this
// project are checked with their bodies and those of the modules that it uses by
// their declarations. That finds what a compiler finds in the project's own code,
// in a tenth of the time of compiling every module once for each system.
//
//	go run ./tests/types linux/arm64 windows/amd64
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// listed is what the checker needs of `go list`.
type listed struct {
	ImportPath, Dir, Name string
	GoFiles, CgoFiles     []string
	ImportMap             map[string]string
	Module                *struct{ Main bool }
	Error                 *struct{ Err string }
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "types:", err)
		os.Exit(1)
	}
}

func run(targets []string, out io.Writer) error {
	if len(targets) == 0 {
		return errors.New("name systems as OS/ARCH, for instance windows/amd64")
	}
	files := &files{set: token.NewFileSet(), parsed: map[string]*parsed{}}
	var all []error
	for _, target := range targets {
		start := time.Now()
		system, arch, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("%q is not OS/ARCH", target)
		}
		n, err := check(files, system, arch)
		if err != nil {
			all = append(all, fmt.Errorf("for %s: %w", target, err))
			continue
		}
		fmt.Fprintf(out, "checked %d packages for %s in %v\n", n, target, time.Since(start).Round(100*time.Millisecond))
	}
	return errors.Join(all...)
}

// check checks the program for one system and returns how many packages it has.
func check(f *files, system, arch string) (int, error) {
	packages, err := list(system, arch)
	if err != nil {
		return 0, err
	}
	f.parseAll(packages)
	c := &checker{files: f, arch: arch, done: map[string]*types.Package{"unsafe": types.Unsafe}}
	for _, p := range packages { // go list puts what is imported first
		if err := c.check(p); err != nil {
			return 0, err
		}
	}
	return len(packages), errors.Join(c.mistakes...)
}

// list returns the program's packages, tests left out, each after those that it imports.
func list(system, arch string) ([]*listed, error) {
	cmd := exec.Command("go", "list", "-deps", "-e", "-json=ImportPath,Dir,Name,GoFiles,CgoFiles,ImportMap,Module,Error", "./cmd/...")
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []*listed
	for dec := json.NewDecoder(strings.NewReader(string(stdout))); ; {
		p := &listed{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if p.Error != nil {
			return nil, fmt.Errorf("go list: %s", p.Error.Err)
		}
		if p.ImportPath != "unsafe" {
			all = append(all, p)
		}
	}
}

// files parses each file once, for however many systems.
type files struct {
	set *token.FileSet

	mu     sync.Mutex
	parsed map[string]*parsed // guarded by mu
}

type parsed struct {
	once sync.Once
	file *ast.File
	err  error
}

func (f *files) parse(path string) (*ast.File, error) {
	f.mu.Lock()
	p := f.parsed[path]
	if p == nil {
		p = &parsed{}
		f.parsed[path] = p
	}
	f.mu.Unlock()
	p.once.Do(func() { p.file, p.err = parser.ParseFile(f.set, path, nil, parser.SkipObjectResolution) })
	return p.file, p.err
}

// parseAll parses ahead, several files at a time; check finds the errors.
func (f *files) parseAll(packages []*listed) {
	paths := make(chan string)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for path := range paths {
				_, _ = f.parse(path)
			}
		})
	}
	for _, p := range packages {
		for _, name := range p.GoFiles {
			paths <- filepath.Join(p.Dir, name)
		}
	}
	close(paths)
	wg.Wait()
}

type checker struct {
	files    *files
	arch     string
	done     map[string]*types.Package
	mistakes []error // in this project's packages
}

// check checks one package. A mistake in a module's package ends the check, since
// what uses it cannot be checked; those of this project are collected.
func (c *checker) check(p *listed) error {
	ours := p.Module != nil && p.Module.Main
	var sources []*ast.File
	for _, name := range p.GoFiles {
		file, err := c.files.parse(filepath.Join(p.Dir, name))
		if err != nil {
			return err
		}
		sources = append(sources, file)
	}
	var found []error
	config := types.Config{
		Importer:         importer{c.done, p.ImportMap},
		Sizes:            types.SizesFor("gc", c.arch),
		IgnoreFuncBodies: !ours,
		FakeImportC:      true,
		Error:            func(err error) { found = append(found, err) },
	}
	pkg, _ := config.Check(p.ImportPath, c.files.set, sources, nil)
	c.done[p.ImportPath] = pkg
	if ours {
		c.mistakes = append(c.mistakes, found...)
		return nil
	}
	return errors.Join(found...)
}

// importer finds packages that were checked before.
type importer struct {
	done   map[string]*types.Package
	mapped map[string]string // vendored paths of the standard library
}

func (i importer) Import(path string) (*types.Package, error) {
	if to, ok := i.mapped[path]; ok {
		path = to
	}
	if p := i.done[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s is not among the program's packages", path)
}
