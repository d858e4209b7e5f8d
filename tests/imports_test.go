package tests

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"portico/tests/harness"
)

// imports says of each package of docs/architecture.md all that it may use of
// ours. Down only; what is not listed is forbidden, and what is listed is used.
var imports = map[string][]string{
	"internal/units":         {},
	"internal/zapslog":       {},
	"internal/hugepage":      {},
	"internal/linked":        {},
	"internal/nearest":       {},
	"internal/pause":         {},
	"internal/refusal":       {},
	"internal/takeover":      {},
	"internal/prefetch":      {},
	"internal/alias":         {},
	"internal/cow":           {},
	"internal/ordered":       {},
	"internal/records":       {},
	"internal/tlstrim":       {},
	"internal/unsent":        {},
	"conf/sites":             {"internal/nearest", "internal/units"},
	"conf":                   {"conf/sites", "internal/nearest", "internal/units"},
	"balancer/figures":       {"conf/sites"},
	"balancer":               {"balancer/bursts", "balancer/figures", "balancer/lookup", "balancer/meter", "balancer/policy", "balancer/seal", "balancer/sessions", "balancer/waiting", "conf/sites", "internal/linked"},
	"balancer/bursts":        {},
	"balancer/lookup":        {"balancer/seal"},
	"balancer/meter":         {},
	"balancer/policy":        {"balancer/sessions", "conf/sites"},
	"balancer/sessions":      {"balancer/meter", "balancer/seal", "internal/hugepage", "internal/prefetch"},
	"balancer/seal":          {},
	"balancer/waiting":       {"balancer/seal"},
	"internal/durable":       {},
	"membership/catalog":     {"conf/sites", "internal/durable", "internal/ordered", "internal/pause", "internal/units", "membership/catalog/ids", "membership/catalog/memory", "membership/catalog/store", "membership/catalog/store/peers"},
	"deployhook/archive":     {},
	"deployhook/objects":     {"deployhook/archive", "internal/pause"},
	"deployhook/reply":       {"conf", "deployhook/archive", "deployhook/objects", "internal/refusal", "membership/catalog"},
	"deployhook/wanted":      {"conf/sites", "membership/catalog", "membership/catalog/ids", "membership/catalog/messages"},
	"deployhook/history":     {"membership/catalog", "membership/catalog/messages"},
	"deployhook/presence":    {},
	"deployhook/logs":        {"conf/sites", "internal/pause", "internal/refusal", "membership/catalog", "membership/catalog/ids", "membership/catalog/messages"},
	"deployhook/upload":      {"conf", "conf/sites", "deployhook/archive", "deployhook/objects", "internal/refusal", "membership/catalog", "membership/catalog/command"},
	"proxy/http1":            {},
	"proxy/wire":             {},
	"proxy/exchange/account": {"proxy/http1", "proxy/wire"},
	"proxy/exchange":         {"proxy/exchange/account", "proxy/http1", "proxy/wire"},
	"proxy/conn":             {"internal/descriptors", "internal/linked", "internal/records", "internal/tlstrim", "internal/unsent", "proxy/exchange", "proxy/exchange/account", "proxy/http1", "proxy/http2", "proxy/wire"},
	"certs":                  {"internal/durable", "internal/zapslog", "membership/catalog", "membership/catalog/command", "membership/catalog/ids"},
	"membership":             {"internal/descriptors", "internal/durable", "internal/pause", "membership/catalog", "membership/catalog/command", "membership/catalog/ids"},
	"deployhook/agent":       {"deployhook/agent/backoff", "deployhook/agent/ports", "deployhook/agent/account", "deployhook/agent/beneath", "deployhook/agent/cgroup", "deployhook/agent/command", "deployhook/agent/diskwatch", "deployhook/agent/folders", "deployhook/agent/health", "deployhook/agent/listener", "deployhook/agent/logs", "deployhook/agent/machine", "deployhook/agent/members", "deployhook/agent/portowner", "deployhook/agent/process", "deployhook/agent/state", "deployhook/agent/static", "deployhook/agent/tomcat", "deployhook/archive", "deployhook/objects", "internal/descriptors", "internal/durable", "internal/pause", "membership/catalog", "membership/catalog/ids", "membership/catalog/messages"},
	"deployhook":             {"conf", "deployhook/archive", "deployhook/history", "deployhook/logs", "deployhook/objects", "deployhook/presence", "deployhook/reply", "deployhook/upload", "deployhook/wanted", "internal/pause", "internal/refusal", "internal/units", "membership/catalog", "membership/catalog/command", "membership/catalog/ids", "membership/catalog/messages"},
	"proxy/haproxy":          {"balancer/figures", "balancer/seal", "conf", "internal/units", "membership/catalog"},
	"proxy/route":            {"conf/sites", "internal/cow", "proxy/fault"},
	"proxy/origin":           {"balancer", "membership/catalog", "proxy/exchange"},
	"proxy/accesslog":        {"proxy/exchange/account"},
	"proxy/sticky":           {"balancer", "conf/sites", "internal/alias", "proxy/http1"},
	"proxy/probe":            {"balancer", "conf/sites", "internal/pause", "membership/catalog/messages", "proxy/origin", "proxy/route"},
	"proxy/fault":            {"balancer", "proxy/http1", "proxy/origin"},
	"proxy/recent":           {"balancer", "internal/prefetch", "proxy/exchange/account", "proxy/fault", "proxy/http1", "proxy/sticky"},
	"proxy/clock":            {"balancer"},
	"proxy/site":             {"balancer", "conf/sites", "internal/alias", "internal/cow", "membership/catalog", "proxy/exchange/account", "proxy/fault", "proxy/probe", "proxy/route", "proxy/sticky"},
	"proxy/listen":           {"balancer/figures", "balancer/meter", "proxy/exchange/account"},
	"proxy/forward":          {"balancer", "internal/alias", "proxy/accesslog", "proxy/clock", "proxy/exchange", "proxy/exchange/account", "proxy/fault", "proxy/http1", "proxy/listen", "proxy/origin", "proxy/probe", "proxy/recent", "proxy/route", "proxy/site", "proxy/sticky"},
	"proxy/explain":          {"balancer", "conf/sites", "membership/catalog/ids", "proxy/forward", "proxy/http1", "proxy/route", "proxy/site", "proxy/sticky"},
	"proxy":                  {"balancer", "conf", "internal/pause", "membership/catalog", "proxy/accesslog", "proxy/clock", "proxy/conn", "proxy/exchange", "proxy/exchange/account", "proxy/explain", "proxy/forward", "proxy/http1", "proxy/listen", "proxy/loop", "proxy/origin", "proxy/probe", "proxy/recent", "proxy/route", "proxy/site", "proxy/sticky", "proxy/wire"},

	// The admin listener.
	"proxy/admin/access":     {"internal/refusal", "membership/catalog", "membership/catalog/command"},
	"proxy/admin/apiclient":  {"deployhook", "deployhook/logs", "internal/pause", "internal/refusal", "membership", "membership/catalog", "membership/catalog/messages", "proxy/admin/api", "proxy/recent"},
	"proxy/admin/api":        {"balancer/figures", "internal/refusal", "internal/units", "membership/catalog"},
	"proxy/admin/proxies":    {"balancer", "balancer/figures", "balancer/seal", "deployhook", "internal/refusal", "membership/catalog", "membership/catalog/ids", "proxy/admin/api"},
	"proxy/admin/forecast":   {"balancer/figures", "conf/sites", "membership/catalog", "proxy/admin/api", "proxy/admin/proxies"},
	"proxy/admin/deeds":      {"deployhook", "internal/refusal", "internal/units", "membership/catalog", "membership/catalog/command", "membership/catalog/ids", "proxy/admin/api"},
	"proxy/admin/page":       {"balancer/figures", "conf/sites", "deployhook", "internal/refusal", "membership", "membership/catalog", "proxy/admin/access", "proxy/admin/api", "proxy/recent"},
	"proxy/admin/streams":    {"internal/refusal", "proxy/admin/api"},
	"proxy/admin/prometheus": {"balancer/figures", "membership/catalog", "proxy/admin/api"},
	"proxy/admin":            {"balancer", "deployhook", "deployhook/logs", "deployhook/reply", "internal/refusal", "membership", "membership/catalog", "membership/catalog/command", "membership/catalog/ids", "membership/catalog/messages", "proxy/admin/access", "proxy/admin/api", "proxy/admin/deeds", "proxy/admin/forecast", "proxy/admin/page", "proxy/admin/prometheus", "proxy/admin/proxies", "proxy/admin/streams", "proxy/haproxy", "proxy/recent"},

	// HTTP/2. A stream is the client of an exchange without knowing it: nothing of exchanges here.
	"proxy/http2/hpack":    {"proxy/wire"},
	"proxy/http2/priority": {},
	"proxy/http2/heads":    {"proxy/http1", "proxy/http2/hpack", "proxy/http2/priority", "proxy/wire"},
	"proxy/http2":          {"proxy/http1", "proxy/http2/heads", "proxy/http2/hpack", "proxy/http2/priority", "proxy/wire"},

	// The store knows proxies and keys, and no record.
	"membership/catalog/store":         {"conf/sites", "internal/durable", "internal/pause", "internal/zapslog", "membership/catalog/store/etcdlog", "membership/catalog/store/peers"},
	"membership/catalog/store/etcdlog": {},
	"membership/catalog/store/peers":   {"conf/sites", "internal/descriptors", "internal/strangers"},
	"membership/catalog/memory":        {"internal/durable", "internal/pause", "membership/catalog/store"},
	"membership/catalog/messages":      {"conf/sites", "membership/catalog"},
	"membership/catalog/ids":           {"conf/sites"},
	"membership/catalog/command":       {"conf/sites", "internal/units", "membership/catalog", "membership/catalog/ids", "membership/catalog/messages"},

	// The event loops.
	"proxy/loop/handshakes": {"internal/linked"},
	"proxy/loop/socket":     {"proxy/wire"},
	"proxy/loop/spare":      {},
	"proxy/loop/uring":      {"proxy/loop/socket"},
	"proxy/loop/wheel":      {},
	"proxy/loop":            {"internal/descriptors", "internal/linked", "internal/records", "internal/tlstrim", "internal/unsent", "proxy/exchange", "proxy/exchange/account", "proxy/http1", "proxy/http2", "proxy/loop/handshakes", "proxy/loop/socket", "proxy/loop/spare", "proxy/loop/uring", "proxy/loop/wheel", "proxy/wire"},

	// what every driver's tests run
	"proxy/exchange/exchangetest":         {"internal/records", "proxy/exchange", "proxy/exchange/account", "proxy/exchange/exchangetest/rig", "proxy/exchange/exchangetest/table", "proxy/http1"},
	"proxy/exchange/exchangetest/streams": {"proxy/exchange", "proxy/exchange/account", "proxy/exchange/exchangetest/rig", "proxy/exchange/exchangetest/table", "proxy/http1"},
	"proxy/exchange/exchangetest/origins": {"proxy/exchange", "proxy/exchange/account", "proxy/exchange/exchangetest/rig", "proxy/http1"},
	"proxy/exchange/exchangetest/rig":     {"proxy/exchange", "proxy/exchange/account", "proxy/http1"},
	"proxy/exchange/exchangetest/table":   {"proxy/http1"},

	"deployhook/agent/account":   {},
	"deployhook/agent/backoff":   {},
	"deployhook/agent/ports":     {"deployhook/agent/account"},
	"deployhook/agent/process":   {"deployhook/agent/account", "deployhook/agent/cgroup"},
	"deployhook/agent/health":    {"deployhook/agent/portowner", "internal/descriptors", "internal/pause", "internal/units", "membership/catalog", "membership/catalog/messages"},
	"deployhook/agent/state":     {"conf/sites", "internal/durable", "membership/catalog/messages"},
	"deployhook/agent/folders":   {"conf/sites", "deployhook/agent/account", "deployhook/agent/beneath", "deployhook/agent/process", "deployhook/objects"},
	"deployhook/agent/command":   {"conf/sites", "deployhook/agent/account", "deployhook/agent/beneath", "deployhook/agent/folders"},
	"deployhook/agent/logs":      {"deployhook/agent/account", "deployhook/agent/beneath", "deployhook/agent/folders", "internal/pause", "membership/catalog/ids", "membership/catalog/messages"},
	"deployhook/agent/beneath":   {},
	"deployhook/agent/cgroup":    {},
	"deployhook/agent/diskwatch": {"deployhook/agent/beneath", "internal/pause", "internal/units"},
	"deployhook/agent/portowner": {},
	"deployhook/agent/listener":  {"deployhook/agent/portowner", "deployhook/agent/relay", "deployhook/objects", "internal/descriptors", "internal/pause", "internal/records", "internal/unsent", "membership/catalog"},
	"deployhook/agent/members":   {"deployhook/objects", "internal/pause", "membership/catalog", "membership/catalog/messages"},
	"deployhook/agent/static":    {"deployhook/agent/beneath", "deployhook/agent/folders", "deployhook/agent/health", "deployhook/objects", "internal/descriptors", "membership/catalog"},
	"deployhook/agent/relay":     {"internal/records", "internal/unsent"},
	"deployhook/agent/machine":   {"deployhook/agent/portowner", "deployhook/agent/tomcat", "membership/catalog/messages"},
	"internal/descriptors":       {},
	"internal/strangers":         {},
	"deployhook/agent/tomcat":    {},

	// Processes: what a start needs, and what runs.
	"deployhook/agent/appserver": {"certs", "conf", "deployhook/agent", "deployhook/agent/account", "deployhook/agent/machine", "deployhook/agent/state", "deployhook/agent/tomcat", "internal/exitcode", "internal/pause", "internal/preflight", "internal/statedir", "membership", "membership/catalog", "membership/catalog/messages"},
	"internal/exitcode":          {},
	"internal/statedir":          {"internal/durable", "internal/exitcode"},
	"internal/preflight":         {"certs", "deployhook/agent/portowner", "membership", "membership/catalog"},
	"proxy/frontdoor/succession": {"internal/takeover"},
	"proxy/frontdoor":            {"balancer", "certs", "conf", "deployhook", "deployhook/objects", "internal/descriptors", "internal/durable", "internal/exitcode", "internal/pause", "internal/preflight", "internal/statedir", "internal/strangers", "internal/takeover", "internal/units", "membership", "membership/catalog", "membership/catalog/command", "proxy", "proxy/accesslog", "proxy/admin", "proxy/admin/api", "proxy/admin/proxies", "proxy/explain", "proxy/frontdoor/succession", "proxy/haproxy", "proxy/recent", "proxy/site"},

	// The command.
	"cmd/portico/screen": {"internal/exitcode", "membership/catalog", "membership/catalog/ids", "membership/catalog/messages", "proxy/admin/apiclient"},
	"cmd/portico/shell":  {"conf", "internal/exitcode", "internal/statedir"},
	"cmd/portico/client": {"certs", "cmd/portico/screen", "cmd/portico/shell", "conf", "deployhook", "deployhook/archive", "deployhook/logs", "deployhook/upload", "internal/exitcode", "internal/pause", "internal/refusal", "internal/statedir", "membership", "membership/catalog", "membership/catalog/ids", "membership/catalog/messages", "proxy/admin/api", "proxy/admin/apiclient", "proxy/explain", "proxy/haproxy", "proxy/recent"},
	"cmd/portico/start":  {"cmd/portico/client", "cmd/portico/screen", "cmd/portico/shell", "conf", "deployhook/agent/appserver", "deployhook/agent/state", "deployhook/archive", "internal/exitcode", "internal/pause", "internal/preflight", "internal/statedir", "membership/catalog", "membership/catalog/command", "membership/catalog/messages", "proxy/admin/access", "proxy/admin/apiclient", "proxy/frontdoor"},
}

// owners may import a module that nothing else in the project imports.
var owners = map[string][]string{
	"go.etcd.io/":                        {"membership/catalog/store", "membership/catalog/store/peers"},
	"github.com/hashicorp/serf":          {"membership"},
	"github.com/hashicorp/memberlist":    {"membership"},
	"github.com/caddyserver/certmagic":   {"certs"},
	"github.com/pelletier/go-toml":       {"conf"},
	"github.com/spf13/":                  {"cmd/portico", "cmd/portico/client", "cmd/portico/screen", "cmd/portico/start"},
	"go.uber.org/zap":                    {"certs", "internal/zapslog", "membership/catalog/store"},
	"github.com/klauspost/compress":      {"deployhook", "deployhook/archive", "deployhook/objects"},
	"github.com/VictoriaMetrics/metrics": {"certs", "cmd/portico", "deployhook", "membership", "proxy/admin", "proxy/admin/prometheus", "proxy/site"},
}

type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	cmd.Dir = harness.Root()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, "portico/")
		all = append(all, p)
	}
}

func TestImportsRunDown(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, "tests") {
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "portico/tests/") {
				t.Errorf("%s imports %s, which is for tests alone", p.ImportPath, imp)
			}
		}
		if p.ImportPath == "cmd/portico" || p.ImportPath == "portico" {
			continue
		}
		allowed, known := imports[p.ImportPath]
		if !known {
			t.Errorf("%s is not in the picture: give it a row here and in docs/architecture.md, or put its code where it belongs", p.ImportPath)
			continue
		}
		for _, may := range allowed {
			if !slices.Contains(p.Imports, "portico/"+may) {
				t.Errorf("%s does not import %s any more: take it out of its row here", p.ImportPath, may)
			}
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, "portico/"); ok && !slices.Contains(allowed, ours) && !comesAlong(ours, allowed) {
				t.Errorf("%s imports %s, which runs against the picture", p.ImportPath, ours)
			}
			for module, may := range owners {
				if strings.HasPrefix(imp, module) && !slices.Contains(may, p.ImportPath) {
					t.Errorf("%s imports %s, which only %s may know", p.ImportPath, imp, strings.Join(may, ", "))
				}
			}
		}
	}
}

// Each package has a row in docs/architecture.md, and each row is about packages that are there.
func TestPackagesHaveARow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| package | promise |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]bool{}
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for i, name := range strings.Split(first, "`") {
			if i%2 == 1 {
				rows[name] = true
			}
		}
	}
	for _, p := range packages(t) {
		if !rows[p.ImportPath] && !strings.HasPrefix(p.ImportPath, "tests") && p.ImportPath != "portico" {
			t.Errorf("docs/architecture.md has no row for %s", p.ImportPath)
		}
		delete(rows, p.ImportPath)
	}
	for name := range rows {
		t.Errorf("docs/architecture.md has a row for %s, which is not there", name)
	}
}

// comesAlong: the records of the catalog hold a site's settings, and what the balancer answers consists of the types of
// its rooms. Whoever may use the one may use the other.
func comesAlong(ours string, allowed []string) bool {
	return ours == "conf/sites" && slices.Contains(allowed, "membership/catalog") ||
		strings.HasPrefix(ours, "balancer/") && slices.Contains(allowed, "balancer")
}

// TestExportedNamesAreDocumented looks at every exported name outside tests,
// methods and struct types included.
func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, "tests") {
			continue
		}
		fset := token.NewFileSet()
		hasPackageDoc := false
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			hasPackageDoc = hasPackageDoc || file.Doc != nil
			for _, decl := range file.Decls {
				for _, missing := range undocumented(decl) {
					t.Errorf("%s: exported %s has no doc comment", fset.Position(decl.Pos()), missing)
				}
			}
		}
		if !hasPackageDoc && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no package comment", p.ImportPath)
		}
	}
}

func undocumented(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && receiverExported(d) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if idx, ok := typ.(*ast.IndexExpr); ok {
		typ = idx.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// A test that does less under the race detector runs once more without it: its
// name is in the Makefile, or its package is one that runs whole.
func TestWhatRaceShortensRunsInFull(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(harness.Root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	_, plain, _ := strings.Cut(string(makefile), "\nplain:\n")
	plain, _, _ = strings.Cut(plain, "\nunit:")
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			for _, test := range shortened(t, name) {
				if !strings.Contains(plain, "./"+p.ImportPath) {
					t.Errorf("%s: the target plain of the Makefile leaves out ./%s, with %s", name, p.ImportPath, test)
				}
				if p.ImportPath != "proxy" && !strings.Contains(string(makefile), test+"|") && !strings.Contains(string(makefile), test+")") {
					t.Errorf("%s: WITHOUT_RACE in the Makefile leaves out %s", name, test)
				}
			}
		}
	}
}

// shortened returns the tests of a file that ask for the race detector.
func shortened(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Enabled" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "race" {
					tests = append(tests, f.Name.Name)
					return false
				}
			}
			return true
		})
	}
	return tests
}
