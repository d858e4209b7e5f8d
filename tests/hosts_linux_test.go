package tests

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// Machines with networks of their own: join, accept, deploy, cut one off, let
// it back, add a late one.
func TestHostsOfTheirOwn(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	network := harness.NewNet(t)
	front := network.Host("front")
	p := proxyOn(t, front)
	var servers []*harness.Host
	for _, name := range []string{"server-1", "server-2", "server-3"} {
		servers = append(servers, network.Host(name))
		agentOn(t, p, servers[len(servers)-1], name)
	}
	third := servers[2]
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	visit := func() (*harness.Visitor, harness.Visit) {
		v := harness.NewVisitor(t, net.JoinHostPort(front.IP, "80"), "node.test")
		v.Client.Transport.(*http.Transport).DialContext = front.DialTo(net.JoinHostPort(front.IP, "80"))
		return v, v.Get("/")
	}
	var vs []*harness.Visitor
	var seen []harness.Visit
	for range 15 {
		v, s := visit()
		vs, seen = append(vs, v), append(seen, s)
	}
	if len(spread(seen)) != 3 {
		t.Fatalf("15 visitors are on %v", spread(seen))
	}

	// All are cut off, for longer than checks are patient: nobody has served anybody meanwhile, and all go on where
	// they were.
	for _, h := range servers {
		h.Cut()
	}
	<-time.After(12 * time.Second)
	for _, h := range servers {
		h.Mend()
	}
	settled(t, p, "node", 3)
	for i, v := range vs {
		got := v.Get("/")
		if got.Server != seen[i].Server || got.Views != seen[i].Views+1 || got.Lost != "" {
			t.Errorf("after a cut of all hosts, visitor %d of %+v sees %+v", i, seen[i], got)
		}
		seen[i] = got
	}

	p.Must("sites", "set", "node", "session.patience=1s") // one is cut off for longer than that
	third.Cut()
	for i, v := range vs {
		got := v.Get("/")
		switch {
		case got.Server == "server-3":
			t.Fatalf("a host that is cut off answers")
		case seen[i].Server != "server-3" && (got.Server != seen[i].Server || got.Views != seen[i].Views+1):
			t.Errorf("visitor %d of %s was hurt by the cut of another host: %+v", i, seen[i].Server, got)
		}
		seen[i] = got
	}
	next := filepath.Join(t.TempDir(), "next")
	if err := os.CopyFS(next, os.DirFS(harness.App("node"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(next, "news.txt"), []byte("while one was away\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.Must("deploy", "node", next, "--host", "node.test")
	_, during := visit()

	third.Mend()
	harness.Eventually(t, time.Minute, func() error {
		for range 12 {
			if _, s := visit(); s.Server == "server-3" {
				if s.Release != during.Release {
					return fmt.Errorf("server-3 came back with release %s, want %s", s.Release, during.Release)
				}
				return nil
			}
		}
		return fmt.Errorf("server-3 gets no visitors after the cut")
	})
	for i, v := range vs {
		if got := v.Get("/"); got.Server != seen[i].Server {
			t.Errorf("visitor %d flipped from %s to %s", i, seen[i].Server, got.Server)
		}
	}

	start := time.Now()
	agentOn(t, p, network.Host("server-4"), "server-4")
	harness.Eventually(t, time.Minute, func() error {
		for range 16 {
			if _, s := visit(); s.Server == "server-4" {
				return nil
			}
		}
		return fmt.Errorf("server-4 gets no visitors")
	})
	t.Logf("a late server answered %v after its start", time.Since(start).Round(10*time.Millisecond))
}

func proxyOn(t *testing.T, h *harness.Host) *harness.Proxy {
	t.Helper()
	p := &harness.Proxy{Dir: harness.TempDir(t), HTTP: h.IP + ":80", Admin: h.IP + ":7443", In: h.Command()}
	p.Process = harness.StartIn(t, h.Command(), "proxy", nil, "proxy", "--dir", p.Dir, "--name", "proxy-1",
		"--http", p.HTTP, "--https", h.IP+":443", "--admin", p.Admin, "--gossip", h.IP+":7946")
	p.WaitReady()
	return p
}

func agentOn(t *testing.T, p *harness.Proxy, h *harness.Host, name string) *harness.Process {
	t.Helper()
	code := strings.TrimSpace(p.Must("invite", "--quiet"))
	a := harness.StartIn(t, h.Command(), name, nil, "agent", "--dir", harness.TempDir(t), "--name", name,
		"--listen", h.IP+":7444", "--gossip", h.IP+":7946", "--join", p.Admin, "--fingerprint", p.Fingerprint(), "--code", code)
	p.WaitMember(name, catalog.Accepted)
	return a
}
