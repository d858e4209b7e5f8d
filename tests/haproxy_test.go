package tests

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
	"portico/tests/support/written"
)

// A real HAProxy reads the export, serves the sites, keeps the sessions that
// portico pinned, and portico keeps those that HAProxy pinned.
func TestHAProxyServesTheExport(t *testing.T) {
	t.Parallel()
	haproxy := harness.Need(t, "haproxy")
	harness.Need(t, "node")
	harness.Need(t, "/usr/share/tomcat10/bin/bootstrap.jar")
	harness.Need(t, "java")
	access := filepath.Join(t.TempDir(), "access.log")
	config := writeFile(t, "portico.toml", fmt.Sprintf(`
[log]
access = %q
access_format = "httplog"
[[site]]
name = "old"
hosts = ["old.test"]
[[site.upstream]]
name = "one"
addr = %q
[[site.upstream]]
name = "two"
addr = %q
`, access, namedServer(t, "one"), namedServer(t, "two")))
	p := harness.StartProxy(t, "--config", config)
	tc := harness.StartTomcat(t)
	one := p.AddServer("server-1")
	two := p.AddServer("server-2", "--set", "agent.tomcat.url="+tc.ManagerURL(),
		"--set", "agent.tomcat.user="+tc.User, "--set", "agent.tomcat.password_file="+writeFile(t, "manager-password", tc.Password))
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	p.Must("deploy", "java", webApp(t, fmt.Sprintf(lean, "java")), "--host", "java.test")
	p.Must("deploy", "files", namedFiles(t), "--host", "files.test")
	for _, a := range []*harness.Agent{one, two} {
		write(t, filepath.Join(a.Dir, "sites", "files", "data", "own"), "name.json", fmt.Sprintf(`{"views":1,"server":%q}`, a.Name))
	}
	p.Must("deploy", "foreign", hookSite(t, namedServer(t, "hook")), "--host", "foreign.test")
	p.Must("deploy", "docs", harness.App("static"), "--host", "node.test", "--path", "/docs")

	dir := harness.TempDir(t)
	bind := harness.Addr(t)
	p.Must("export", "haproxy", "--out", dir, "--http", bind, "--https", "", "--bare")
	cfg := filepath.Join(dir, "haproxy.cfg")
	if out, err := exec.Command(haproxy, "-c", "-f", cfg).CombinedOutput(); err != nil || strings.Contains(string(out), "[WARNING]") {
		t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	log := &written.Buffer{}
	cmd := exec.Command(haproxy, "-db", "-f", cfg)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("--- log of HAProxy ---\n%s", log.Tail(30))
		}
	})
	harness.Eventually(t, time.Minute, func() error {
		_, err := harness.NewVisitor(t, bind, "node.test").Try("/")
		return err
	})

	pinned, seen := visitors(t, p.HTTP, "node.test", "/", 8)
	for i, v := range pinned {
		through(v, bind)
		if got := v.Get("/"); got.Server != seen[i].Server || got.Views != 2 {
			t.Errorf("HAProxy moved a session of portico: %+v after %+v", got, seen[i])
		}
	}
	pinned, seen = visitors(t, bind, "node.test", "/", 8)
	if len(spread(seen)) != 2 {
		t.Errorf("through HAProxy 8 visitors are on %v", spread(seen))
	}
	for i, v := range pinned {
		through(v, p.HTTP)
		if got := v.Get("/"); got.Server != seen[i].Server || got.Views != 2 {
			t.Errorf("portico moved a session of HAProxy: %+v after %+v", got, seen[i])
		}
		through(v, bind)
		if got := v.Get("/"); got.Server != seen[i].Server || got.Views != 3 {
			t.Errorf("the sealed cookie confused HAProxy: %+v after %+v", got, seen[i])
		}
	}
	if _, _, err := visitOK(harness.NewVisitor(t, bind, "node.test"), "/docs/"); err != nil {
		t.Errorf("the longer path: %v", err)
	}

	for _, kind := range []struct {
		address string // of a page that says which server gave it
		servers int
	}{
		{"node.test/", 2},               // a process
		{"old.test/", 2},                // a server without an agent
		{"foreign.test/", 1},            // one that a hook installs for
		{"java.test/", 2},               // a Tomcat of the site's own, and one that is the machine's
		{"files.test/own/name.json", 2}, // files, which the agent serves
	} {
		host, path, _ := strings.Cut(kind.address, "/")
		bothKeep(t, p.HTTP, bind, host, "/"+path, kind.servers)
		bothKeep(t, bind, p.HTTP, host, "/"+path, kind.servers)
	}
	for _, name := range []string{"one", "two", "one", "two"} { // visitors whom an HAProxy before portico gave a cookie of its own
		v := harness.NewVisitor(t, p.HTTP, "old.test")
		v.Client.Jar.SetCookies(&url.URL{Scheme: "http", Host: "old.test", Path: "/"}, []*http.Cookie{{Name: "SRV", Value: name}})
		if got := v.Get("/"); got.Server != name {
			t.Errorf("the visitor with SRV=%s came to %s", name, got.Server)
		}
	}
	harness.Eventually(t, time.Minute, func() error {
		if log, err := os.ReadFile(access); err != nil || !strings.Contains(string(log), " old/one ") {
			return errf("the access log names no old/one: %v\n%s", err, log)
		}
		return nil
	})

	p.Must("drain", "server-1")
	p.Must("export", "haproxy", "--out", dir, "--http", bind, "--https", "", "--bare")
	if out := p.Must("export", "haproxy"); !strings.Contains(out, "weight 0") {
		t.Error("a draining server has not weight 0")
	}
}

// namedServer is an application that tells its name, and returns its address.
func namedServer(t *testing.T, name string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"views":1,"server":%q}`, name)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// hookSite is the folder of a site of server-1 whose application server listens at addr.
func hookSite(t *testing.T, addr string) string {
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(addr)
	write(t, dir, "portico.toml", "kind = \"hook\"\nservers = [\"server-1\"]\n[hook]\nport = "+port+"\n")
	return dir
}

// namedFiles is the folder of a site of files, with one that each server has for itself.
func namedFiles(t *testing.T) string {
	dir := t.TempDir()
	write(t, dir, "portico.toml", "data = [\"own\"]\n")
	write(t, dir, "index.html", "files")
	return dir
}

// bothKeep sends visitors through one proxy, then with the same cookies through the other, and through the first
// again: each stays where it was, by the cookie that the first one gave it. Together they are on that many servers.
func bothKeep(t *testing.T, first, then, host, path string, servers int) {
	t.Helper()
	pinned, seen := visitors(t, first, host, path, 8)
	if len(spread(seen)) != servers {
		t.Errorf("%s: 8 visitors are on %v, not on %d servers", host, spread(seen), servers)
	}
	for i, v := range pinned {
		for _, proxy := range []string{then, then, then, first, then} {
			through(v, proxy)
			resp, body, err := visitOK(v, path)
			if err != nil {
				t.Fatal(err)
			}
			var got harness.Visit
			decode(t, string(body), &got)
			if got.Server != seen[i].Server {
				t.Errorf("%s: a visitor of %s came to %s by the other proxy", host, seen[i].Server, got.Server)
			}
			for _, c := range resp.Cookies() {
				if strings.HasPrefix(c.Name, "portico-") && !strings.Contains(c.Value, "|") {
					t.Errorf("%s: HAProxy gave a visitor of portico another cookie: %s", host, c)
				}
			}
		}
	}
}

// through sends the visitor's next requests to another proxy.
func through(v *harness.Visitor, addr string) {
	v.Redial(func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) })
}
