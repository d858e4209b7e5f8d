//go:build unix

package tests

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// What the cookies and tickets of a proxy promise holds at any other that has its
// keys all the same: here at one that was restored from its backup, and runs beside it on
// the same static site. Visitors take turns between the two; one of them stands still, is
// killed and comes back without memory, and a server dies.
func TestTwoProxiesWithTheSameKeys(t *testing.T) {
	t.Parallel()
	servers := map[string]*counting{}
	var list strings.Builder
	for _, name := range []string{"one", "two", "three"} {
		servers[name] = startCounting(t, name)
		fmt.Fprintf(&list, "[[site.upstream]]\nname = %q\naddr = %q\n", name, servers[name].addr())
	}
	args, roots := certificateConfig(t, "[[site]]\nname = \"shop\"\nhosts = [\"shop.test\", \"localhost\"]\n"+
		"[site.session]\npatience = \"1s\"\n[site.health]\ntype = \"http\"\npath = \"/healthz\"\ninterval = \"200ms\"\n"+list.String())
	first := harness.StartProxy(t, args...)
	second := twin(t, first, args...)
	for _, p := range []*harness.Proxy{first, second} {
		settled(t, p, "shop", 3)
	}

	vs := takeTurns(t, first, second, 12)
	for range 3 {
		vs.stay(t, 0)
		vs.stay(t, 1)
	}
	for i, p := range []*harness.Proxy{first, second} {
		if n := counted(t, p, "shop"); n != len(vs.seen) {
			t.Errorf("proxy %d counts %d sessions, %d visitors came by", i+1, n, len(vs.seen))
		}
	}

	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := visitor(roots, version)
		if resumes(t, first.HTTPS, c) || !resumes(t, second.HTTPS, c) || !resumes(t, first.HTTPS, c) {
			t.Errorf("TLS %x: a ticket of one proxy does not open at the other", version)
		}
	}

	first.Signal(syscall.SIGSTOP)
	vs.stay(t, 1)
	first.Signal(syscall.SIGCONT)
	vs.stay(t, 0)

	first.Kill()
	vs.stay(t, 1)
	first.Restart()
	first.WaitReady()
	settled(t, first, "shop", 3)
	vs.stay(t, 0)
	vs.stay(t, 1)

	servers["two"].Close()
	vs.move(t, "two")
	vs.stay(t, 0)
	vs.stay(t, 1)
}

// twin starts a second proxy from a backup of the first.
func twin(t *testing.T, p *harness.Proxy, args ...string) *harness.Proxy {
	t.Helper()
	file, dir := filepath.Join(t.TempDir(), "cluster.backup"), filepath.Join(harness.TempDir(t), "restored")
	p.Must("backup", "--out", file)
	r := harness.Run(t, nil, "--dir", dir, "restore", file, "--name", "proxy-2", "--key", filepath.Join(p.Dir, "identity", "catalog.key"))
	if r.Code != 0 {
		t.Fatalf("restore: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	return harness.StartProxyIn(t, dir, "proxy-2", args...)
}

// counting is an application server whose sessions are in its memory.
type counting struct {
	*httptest.Server
	name string
	mu   sync.Mutex
	seen map[string]int // guarded by mu
}

func startCounting(t *testing.T, name string) *counting {
	t.Helper()
	c := &counting{name: name, seen: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Server.Close)
	return c
}

func (c *counting) addr() string { return c.Listener.Addr().(*net.TCPAddr).String() }

func (c *counting) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		return
	}
	id, err := r.Cookie("session")
	if err != nil {
		id = &http.Cookie{Name: "session", Value: fmt.Sprint(c.name, time.Now().UnixNano()), Path: "/"}
		http.SetCookie(w, id)
	}
	c.mu.Lock()
	c.seen[id.Value]++
	n := c.seen[id.Value]
	c.mu.Unlock()
	_ = json.NewEncoder(w).Encode(harness.Visit{Views: n, Server: c.name, Lost: r.Header.Get("Portico-Session-Lost")})
}

// turns are visitors who can go through either of two proxies, with the same cookies.
type turns struct {
	through [2][]*harness.Visitor
	seen    []harness.Visit
}

// takeTurns lets n new visitors come, every other one through each proxy.
func takeTurns(t *testing.T, first, second *harness.Proxy, n int) *turns {
	t.Helper()
	vs := &turns{}
	for i := range n {
		a, b := harness.NewVisitor(t, first.HTTP, "shop.test"), harness.NewVisitor(t, second.HTTP, "shop.test")
		b.Client.Jar = a.Client.Jar
		vs.through[0], vs.through[1] = append(vs.through[0], a), append(vs.through[1], b)
		vs.seen = append(vs.seen, vs.through[i%2][i].Get("/"))
	}
	if len(spread(vs.seen)) != 3 {
		t.Fatalf("the visitors are on %v", spread(vs.seen))
	}
	return vs
}

// stay lets everybody come through one of the proxies, each to where he was.
func (vs *turns) stay(t *testing.T, proxy int) {
	t.Helper()
	stay(t, vs.through[proxy], vs.seen, "/")
}

// move lets everybody come, every other one through each proxy, after a server has gone. Its visitors
// are told.
func (vs *turns) move(t *testing.T, gone string) {
	t.Helper()
	for i, was := range vs.seen {
		got := vs.through[i%2][i].Get("/")
		switch {
		case was.Server != gone && (got.Server != was.Server || got.Views != was.Views+1 || got.Lost != ""):
			t.Errorf("visitor %d was on %+v and is on %+v", i, was, got)
		case was.Server == gone && (got.Server == gone || got.Lost == ""):
			t.Errorf("visitor %d of the server that is gone is on %+v", i, got)
		}
		vs.seen[i] = got
	}
}

// counted is how many sessions of a site a proxy counts.
func counted(t *testing.T, p *harness.Proxy, site string) int {
	t.Helper()
	var list api.SessionList
	p.JSON(&list, "sessions", site, "--list", "--json")
	return list.Total
}
