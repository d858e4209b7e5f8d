package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"portico/tests/harness"
)

// byPath lists the functions on the application server's side that use a path where
// others would hold a folder open, each with the reason why no site can turn that path into
// another. What is below a folder that a site can write to belongs into
// deployhook/agent/beneath and is never on this list.
var byPath = map[string]string{
	"deployhook/agent/open.go Agent.open":                      "the agent's own folder of objects",
	"deployhook/agent/open.go Agent.clean":                     "names in folders that only the agent writes to, removed through beneath",
	"deployhook/agent/state/lock.go MakeDir":                   "the agent's own folders",
	"deployhook/agent/appserver/join.go Agent.rememberProxies": "the agent's own folder",
	"deployhook/agent/appserver/started.go Started.Remember":   "the same",
	"deployhook/agent/appserver/started.go ReadStarted":        "the same",
	"deployhook/agent/appserver/stop.go AskedToEndSites":       "the same",
	"deployhook/agent/install.go unit.dropChanged":             "releases is root's",
	"deployhook/agent/install.go unit.fetch":                   "releases is root's",
	"deployhook/agent/install.go unit.assemble":                "releases is root's",
	"deployhook/agent/folders/prepare.go Unreachable":          "the folders above the agent's own",
	"deployhook/agent/tidy.go Agent.removeSuperfluous":         "the folder of all sites is root's",
	"deployhook/agent/tidy.go Agent.tidySite":                  "releases is root's",
	"deployhook/agent/folders/prepare.go ClosedAbove":          "looked at only: whether accounts may pass",
	"deployhook/agent/command/resolve.go shutOut":              "the agent's own search path, looked at only",
	"deployhook/agent/state/lock.go Holder":                    "the agent's own folder",
	"deployhook/agent/state/lock.go LockDir":                   "the agent's own folder",
	"deployhook/agent/logs/cap.go capper.dirs":                 "the folder of a site is root's; what is in log is opened through beneath",
	"deployhook/agent/tomcat/manager.go Manager.password":      "named by the machine's configuration",
	"deployhook/agent/options.go Options.withDefaults":         "named by the machine's configuration",
	"deployhook/agent/portowner/owner_linux.go processesWith":  "/proc",

	"deployhook/agent/tomcat_own.go unit.makeBase":              "tomcat in the folder of a site, both of which are root's",
	"deployhook/agent/tomcat_own.go Agent.giveTo":               "what was just made in tomcat, where the site cannot go yet",
	"deployhook/agent/tomcat_own.go Agent.tidyTomcats":          "names in tomcat, which is root's, removed through beneath",
	"deployhook/agent/tomcat/base.go Home.Make":                 "a folder that was just made in one of root's; the site cannot enter it yet",
	"deployhook/agent/tomcat/base.go Home.linkCompiler":         "the same, and the distribution's Java libraries",
	"deployhook/agent/tomcat/home.go open":                      "named by the machine's configuration",
	"deployhook/agent/tomcat/home.go Home.configuration":        "Tomcat's own folder, named by the machine's configuration",
	"deployhook/agent/tomcat/home.go Java":                      "looked at only: the site's process runs it, as the site's user",
	"deployhook/agent/process/process_linux.go Instances":       "/proc",
	"deployhook/agent/command/resolve.go Resolve":               "the folder of a site is root's",
	"deployhook/agent/command/resolve.go statCovered":           "runs with the site's own rights",
	"deployhook/agent/process/shim_linux.go shimSpec.cover":     "in an empty file system of its own",
	"deployhook/agent/process/shim_linux.go ownTasks":           "/proc",
	"deployhook/agent/process/reap_linux.go UserRuns":           "/proc",
	"deployhook/agent/cgroup/cgroup_linux.go Open":              "the hierarchy of control groups, where no site can write",
	"deployhook/agent/cgroup/cgroup_linux.go enable":            "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Tree.Remove":       "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Group.Open":        "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Group.remove":      "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Tree.Make":         "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Tree.Groups":       "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Group.outOfMemory": "the same",
	"deployhook/agent/cgroup/cgroup_linux.go Group.kill":        "the same",
	"deployhook/agent/state/state.go read":                      "the agent's own folder",
}

// pathCalls are the functions that do something with what lies at a path.
var pathCalls = map[string][]string{
	"os": {
		"Open", "OpenFile", "OpenRoot", "OpenInRoot", "Create", "CreateTemp", "Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename", "Chown", "Lchown", "Chmod",
		"Chtimes", "Stat", "Lstat", "ReadFile", "WriteFile", "ReadDir", "Symlink", "Link", "Readlink", "Truncate", "DirFS", "CopyFS",
	},
	"filepath": {"Glob", "Walk", "WalkDir", "EvalSymlinks"},
	"ioutil":   {"ReadFile", "WriteFile", "ReadDir", "TempFile", "TempDir"},
}

// systemCalls are those of syscall and x/sys/unix.
var systemCalls = []string{
	"Open", "Openat", "Openat2", "Creat", "Mkdir", "Mkdirat", "Mkfifo", "Mknod", "Rename", "Renameat", "Renameat2", "Unlink", "Unlinkat", "Rmdir", "Chown", "Lchown", "Fchownat",
	"Chmod", "Fchmodat", "Link", "Linkat", "Symlink", "Symlinkat", "Truncate", "Stat", "Lstat", "Fstatat", "Utimes", "Utimensat", "Readlink", "Readlinkat", "Chroot",
}

// TestNothingBelowASiteByPath keeps the application server's side from using paths: a path that
// leads through a folder of a site means what the site makes of it. Whoever adds a call by path says in byPath why
// no site can; a call on an open file (f.Chown) and one with a path in /proc or /sys need no word.
func TestNothingBelowASiteByPath(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range packages(t) {
		if p.ImportPath != "deployhook/agent" && !strings.HasPrefix(p.ImportPath, "deployhook/agent/") || p.ImportPath == "deployhook/agent/beneath" {
			continue
		}
		names, err := filepath.Glob(filepath.Join(p.Dir, "*.go")) // those of other systems as well
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for where, what := range callsByPath(t, name) {
				rel, _ := filepath.Rel(harness.Root(), name)
				key := filepath.ToSlash(rel) + " " + where
				used[key] = true
				if byPath[key] == "" {
					t.Errorf("%s uses %s: go through deployhook/agent/beneath, or say in byPath why no site can change that path", key, what)
				}
			}
		}
	}
	for key := range byPath {
		if !used[key] {
			t.Errorf("%s is on the list and uses no path: take it off", key)
		}
	}
}

// callsByPath returns by function what a file does by path.
func callsByPath(t *testing.T, name string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, decl := range file.Decls {
		where := "a variable"
		if f, ok := decl.(*ast.FuncDecl); ok {
			where = f.Name.Name
			if f.Recv != nil {
				where = strings.TrimPrefix(typeName(f.Recv.List[0].Type), "*") + "." + where
			}
		}
		called := map[ast.Expr]bool{}
		ast.Inspect(decl, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				called[call.Fun] = true
				if what := byPathCall(call); what != "" {
					found[where] = what
				}
			}
			// os.Stat handed on as a value is a call that cannot be seen.
			if sel, ok := n.(*ast.SelectorExpr); ok && !called[sel] && isPathCall(sel) {
				found[where] = nameOf(sel)
			}
			return true
		})
	}
	return found
}

func byPathCall(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	switch args := len(call.Args); {
	case isPathCall(sel):
		if systemFiles(call.Args) {
			return ""
		}
		return nameOf(sel)
	case (sel.Sel.Name == "Chown" || sel.Sel.Name == "Lchown") && args == 3, sel.Sel.Name == "Chmod" && args == 2:
		return sel.Sel.Name + " of a name" // that of os.Root
	}
	return ""
}

func isPathCall(sel *ast.SelectorExpr) bool {
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	if x.Name == "syscall" || x.Name == "unix" {
		return slices.Contains(systemCalls, sel.Sel.Name)
	}
	return slices.Contains(pathCalls[x.Name], sel.Sel.Name)
}

// systemFiles reports whether a path begins with a constant that no site can change.
func systemFiles(args []ast.Expr) bool {
	if len(args) == 0 {
		return false
	}
	first := args[0]
	if join, ok := first.(*ast.CallExpr); ok && len(join.Args) > 0 {
		if sel, ok := join.Fun.(*ast.SelectorExpr); ok && nameOf(sel) == "filepath.Join" {
			first = join.Args[0]
		}
	}
	if sel, ok := first.(*ast.SelectorExpr); ok && nameOf(sel) == "os.DevNull" {
		return true
	}
	lit, ok := first.(*ast.BasicLit)
	if !ok {
		return false
	}
	path, err := strconv.Unquote(lit.Value)
	return err == nil && (path == "/proc" || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/"))
}

func nameOf(sel *ast.SelectorExpr) string {
	if x, ok := sel.X.(*ast.Ident); ok {
		return x.Name + "." + sel.Sel.Name
	}
	return sel.Sel.Name
}

func typeName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return typeName(x.X)
	case *ast.Ident:
		return x.Name
	}
	return "?"
}
