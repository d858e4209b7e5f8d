package tomcat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                 nil,
		"  -Xmx64m   -Da=b\n":              {"-Xmx64m", "-Da=b"},
		`-Da="b c" '-De=f g' -Dh=i\ j ""`:  {"-Da=b c", "-De=f g", "-Dh=i j", ""},
		`-Da='b\c' "-Dd=\"e\""`:            {`-Da=b\c`, `-Dd="e"`},
		`-Da='$(touch /x)' -Db=$HOME;true`: {"-Da=$(touch /x)", "-Db=$HOME;true"}, // there is no shell
	} {
		got, err := split(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
	for _, bad := range []string{`"`, `'a`, `a\`} {
		if got, err := split(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestAppNames(t *testing.T) {
	for context, want := range map[string]string{"/": "ROOT", "": "ROOT", "/crm": "crm", "/a/b": "a#b", "/../x": "x", "/a/../../b/": "b"} {
		if got := appName(Site{Context: context}); got != want {
			t.Errorf("%q is %q, want %q", context, got, want)
		}
		if got := appName(Site{Context: context, War: true}); got != want+".war" {
			t.Errorf("%q is %q", context, got)
		}
	}
}

func TestHeapIsAShareOfTheLimit(t *testing.T) {
	h := Home{Dir: "/usr/share/tomcat"}
	for _, tt := range []struct {
		memory  int64
		options string
		want    string
	}{
		{0, "", ""},
		{100 << 20, "", "-Xmx61440k"},
		{100 << 20, "-Xmx32m", "-Xmx32m"},
		{100 << 20, "-XX:MaxRAMPercentage=50", ""},
	} {
		args, err := h.Command("java", "/base", tt.memory, map[string]string{"CATALINA_OPTS": tt.options})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range args {
			if strings.HasPrefix(a, "-Xmx") {
				got = append(got, a)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%d bytes with %q: %v, want %q", tt.memory, tt.options, got, tt.want)
		}
	}
}

// What a site can write in its base is what Tomcat makes, never what it is told by; and
// nothing of Tomcat's own administration is there.
func TestBase(t *testing.T) {
	h := Home{Dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(h.Dir, "conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dir, "conf", "web.xml"), []byte("<web-app>\n</web-app>\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), "base")
	given := map[string]bool{}
	s := Site{Base: base, App: "/releases/x/crm.war", War: true, Context: "/crm", Port: 20001}
	if err := h.Make(s, func(name string, write bool) error {
		rel, err := filepath.Rel(base, name)
		given[rel] = write
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for name, write := range given {
		if may := slices.Contains(own, name); write != may {
			t.Errorf("the site may write %s: %v", name, write)
		}
	}
	if _, ok := given["conf/server.xml"]; !ok || len(given) < 10 {
		t.Errorf("given are %v", given)
	}
	server, err := os.ReadFile(filepath.Join(base, "conf", "server.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"8005", "AJP", "manager", "UserDatabase", `autoDeploy="true"`} {
		if strings.Contains(string(server), never) {
			t.Errorf("server.xml has %s:\n%s", never, server)
		}
	}
	if n := strings.Count(string(server), "<Connector "); n != 1 || !strings.Contains(string(server), `address="127.0.0.1" port="20001"`) || !strings.Contains(string(server), `<Server port="-1">`) {
		t.Errorf("server.xml has %d connectors:\n%s", n, server)
	}
	if to, err := os.Readlink(filepath.Join(base, "webapps", "crm.war")); err != nil || to != s.App {
		t.Errorf("the application is %q, %v", to, err)
	}
	if err := h.Make(s, func(string, bool) error { return nil }); err == nil {
		t.Error("a base that was there was used")
	}
}

func TestFind(t *testing.T) {
	t.Setenv("CATALINA_HOME", "")
	if _, err := Find(t.TempDir()); err == nil || !strings.Contains(err.Error(), "bootstrap.jar") {
		t.Errorf("a folder without a Tomcat: %v", err)
	}
	if h, err := Find(""); err == nil && (h.Version == "" || !filepath.IsAbs(h.Dir)) {
		t.Errorf("%+v", h)
	}
	if _, err := Java("/nowhere", "/nowhere-either"); err == nil || !strings.Contains(err.Error(), "/nowhere-either") {
		t.Errorf("a JAVA_HOME without java: %v", err)
	}
	if _, err := Java("relative:/nowhere"); err == nil || !strings.Contains(err.Error(), "default-jre-headless") {
		t.Errorf("no java: %v", err)
	}
}
