package conf_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"portico/conf"
	"portico/internal/units"
)

var update = flag.Bool("update", false, "write the golden files")

func TestDefaultIsValidAndEmptyFile(t *testing.T) {
	if err := conf.Default().Validate(); err != nil {
		t.Errorf("Default is refused: %v", err)
	}
	c, err := conf.Load(nil, "portico.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(conf.Default(), c); diff != "" {
		t.Errorf("an empty file differs from Default:\n%s", diff)
	}
}

// The sample file must say the truth: it parses, changes nothing, and names
// every setting there is.
func TestExampleShowsEveryDefault(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the sample shows the default folder of other systems")
	}
	c, err := conf.Load(example, "example.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := conf.Default()
	// An empty list or table in the file is not nil, and means the same.
	want.Proxy.TrustedProxies, want.Proxy.ProxyProtocol = []string{}, []string{}
	want.Admin.Hosts, want.Agent.Join, want.Agent.AllowUsers, want.Agent.HookUsers = []string{}, []string{}, []string{}, []string{}
	want.Proxy.Join = []string{}
	want.Catalog.Endpoints, want.Agent.Runtimes = []string{}, map[string]string{}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("the sample does not show the defaults:\n%s", diff)
	}
	var tree map[string]any
	if err := toml.Unmarshal(example, &tree); err != nil {
		t.Fatal(err)
	}
	for _, k := range conf.Keys() {
		if !has(tree, k.Path) {
			t.Errorf("the sample does not show %s", k.Path)
		}
	}
}

// The commented tables are examples that must work once uncommented, and show
// every key of a static site.
func TestExampleTables(t *testing.T) {
	text := bytes.ReplaceAll(example, []byte("#| "), nil)
	text = bytes.ReplaceAll(text, []byte("#|\n"), []byte("\n"))
	c, err := conf.Load(text, "example.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.TLS.Certificates) != 1 || len(c.Sites) != 1 || len(c.Sites[0].Upstreams) != 2 {
		t.Fatalf("certificates %d, sites %d", len(c.TLS.Certificates), len(c.Sites))
	}
	var tree struct {
		Site []map[string]any `toml:"site"`
	}
	if err := toml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	for _, path := range tagPaths(conf.Site{}) {
		if !has(tree.Site[0], path) {
			t.Errorf("the sample's site does not show %s", path)
		}
	}
}

// TestMistakes holds every message against a golden file: NAME.toml beside
// NAME.txt, with -update to write the latter.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = conf.Load(data, "portico.toml", nil)
			if err == nil {
				t.Fatal("accepted")
			}
			golden(t, filepath.Join("testdata", name+".txt"), err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	c, err := conf.Load([]byte("[proxy]\nhttp = \":8080\"\nhttps = \":8443\"\n"), "portico.toml", []string{
		"PATH=/bin",
		"PORTICO_PROXY_HTTP=:9090",
		"PORTICO_PROXY_TIMEOUTS_HEADER=3s",
		"PORTICO_PROXY_LIMITS_HEADER=32KiB",
		"PORTICO_PROXY_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1",
		"PORTICO_AGENT_ALLOW_USERS=www-data, shop",
		"PORTICO_AGENT_WEIGHT=7",
		"PORTICO_AGENT_RUNTIMES=webdev=29,php=8.2",
		"PORTICO_DIR=/tmp/p",
		"PORTICO_TOKEN=not ours",
		"PORTICO_PROXY_SERVICE_HOST=10.0.0.1",
		"PORTICO_PROXY_PORT_80_TCP_ADDR=10.0.0.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := conf.Default()
	want.Dir = "/tmp/p"
	want.Proxy.HTTP, want.Proxy.HTTPS = ":9090", ":8443"
	want.Proxy.Timeouts.Header = units.Duration(3 * time.Second)
	want.Proxy.Limits.Header = 32 << 10
	want.Proxy.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.1"}
	want.Agent.AllowUsers, want.Agent.Weight = []string{"www-data", "shop"}, 7
	want.Agent.Runtimes = map[string]string{"webdev": "29", "php": "8.2"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	for _, tt := range []struct{ name, env, want string }{
		{"slip in a section", "PORTICO_PROXY_HTPP=:80", "PORTICO_PROXY_HTPP: unknown variable: did you mean PORTICO_PROXY_HTTP?"},
		{"slip at the top", "PORTICO_DIRR=/x", "PORTICO_DIRR: unknown variable: did you mean PORTICO_DIR?"},
		{"nothing near", "PORTICO_AGENT_COLOUR=red", "PORTICO_AGENT_COLOUR: unknown variable: see the configuration reference for the settings of this section"},
		{"tickets for too long", "PORTICO_TLS_TICKETS=3d", "PORTICO_TLS_TICKETS: tickets: 72h is out of range: write 1h to 56h, or 0s for no tickets"},
		{"wrong type", "PORTICO_AGENT_WEIGHT=heavy", `PORTICO_AGENT_WEIGHT: "heavy" is not a whole number`},
		{"impossible value", "PORTICO_AGENT_WEIGHT=900", "PORTICO_AGENT_WEIGHT: weight: 900 is out of range: write 1 to 256"},
		{"no unit", "PORTICO_PROXY_TIMEOUTS_IDLE=60", `PORTICO_PROXY_TIMEOUTS_IDLE: "60" is not a duration: write a number with a unit, such as 500ms, 30s, 8h or 7d`},
		{"escape sequence", "PORTICO_PROXY_NAME=a\x1b[2Jb", `PORTICO_PROXY_NAME: name: "a\x1b[2Jb" is not a member name: lower-case letters, digits and hyphens, at most 40, no hyphen at either end`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := conf.Load(nil, "portico.toml", []string{tt.env})
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		path, value string
		get         func(conf.Config) any
		want        any
		err         string
	}{
		{path: "proxy.http", value: ":81", get: func(c conf.Config) any { return c.Proxy.HTTP }, want: ":81"},
		{path: "proxy.timeouts.idle", value: "2m", get: func(c conf.Config) any { return c.Proxy.Timeouts.Idle.Std() }, want: 2 * time.Minute},
		{path: "agent.join", value: "a:1,b:2,", get: func(c conf.Config) any { return strings.Join(c.Agent.Join, "|") }, want: "a:1|b:2"},
		{path: "agent.join", value: "", get: func(c conf.Config) any { return len(c.Agent.Join) }, want: 0},
		{path: "proxy.htp", value: "x", err: `unknown setting "proxy.htp": did you mean "proxy.http"?`},
		{path: "password_file", value: "x", err: `unknown setting "password_file": did you mean "agent.tomcat.password_file"?`},
		{path: "proxy.http.x", value: "x", err: `unknown setting "proxy.http.x": did you mean "proxy.http"?`},
		{path: "proxy", value: "x", err: "proxy: is a table: name one of the settings in it"},
		{path: "site", value: "x", err: "site: is a list of tables: only a file can hold it"},
		{path: "agent.runtimes", value: "php", err: `agent.runtimes: "php" is not of the form name=value`},
		{path: "", value: "x", err: `unknown setting "": docs/configuration.md lists them`},
	} {
		t.Run(tt.path+"="+tt.value, func(t *testing.T) {
			c := conf.Default()
			err := c.Set(tt.path, tt.value)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("got  %v\nwant %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.get(c); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// Every key can be set, and no two share a variable.
func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range conf.Keys() {
		if seen[k.Env] {
			t.Errorf("%s names two settings", k.Env)
		}
		seen[k.Env] = true
		c := conf.Default()
		ok := slices.ContainsFunc([]string{"true", "7s", "7", "a=b"}, func(v string) bool { return c.Set(k.Path, v) == nil })
		if !ok {
			t.Errorf("%s takes none of the values tried", k.Path)
		}
	}
}

func TestParseFingerprint(t *testing.T) {
	plain := strings.Repeat("ab", 32)
	for _, ok := range []string{"sha256:" + plain, "SHA256:" + strings.ToUpper(plain), " sha256:" + strings.TrimSuffix(strings.Repeat("ab:", 32), ":") + "\n"} {
		if b, err := conf.ParseFingerprint(ok); err != nil || len(b) != 32 || b[0] != 0xab {
			t.Errorf("%q: %x, %v", ok, b, err)
		}
	}
	for _, bad := range []string{"", plain, "sha256:", "sha256:" + plain[2:], "md5:" + plain, "sha256:" + plain + "00"} {
		if _, err := conf.ParseFingerprint(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestPrefixes(t *testing.T) {
	p, err := conf.Prefixes([]string{"10.1.2.3/8", "192.0.2.1", "2001:db8::/32", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(p))
	for i := range p {
		got[i] = p[i].String()
	}
	if want := []string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := conf.Prefixes([]string{"10.0.0.0/40"}); err == nil {
		t.Error("10.0.0.0/40 is accepted")
	}
}
