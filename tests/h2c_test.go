package tests

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/tests/harness"
)

// pagesApp is the gRPC application as one that shows pages and is checked by them; old: over HTTP/1.1.
func pagesApp(t *testing.T, old bool) string {
	t.Helper()
	how := "web"
	if old {
		how = "old"
	}
	dir := grpcApp(t, how)
	file := filepath.Join(dir, "portico.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("type = \"tcp\"\n"), []byte("path = \"/healthz\"\n"), 1)
	if old {
		text = bytes.Replace(text, []byte("protocol = \"h2c\"\n"), nil, 1)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A site that speaks HTTP/2 is checked over it, asked by visitors of HTTP/1.1, keeps them on their instance, loses no request that may be
// repeated when a server dies, and follows a release that does not speak it.
func TestH2CSite(t *testing.T) {
	t.Parallel()
	old, fresh := pagesApp(t, true), pagesApp(t, false)
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			p := harness.StartProxy(t, "--set", "proxy.engine="+engine)
			agents := map[string]*harness.Agent{"server-1": p.AddServer("server-1"), "server-2": p.AddServer("server-2")}
			p.Must("deploy", "web", old, "--host", "web.test")
			settled(t, p, "web", 2)
			before := harness.NewVisitor(t, p.HTTP, "web.test")
			if got := h2cGet(t, before, "/"); !strings.HasPrefix(got, "HTTP/1.1 GET /") {
				t.Errorf("the old release: %q", got)
			}
			h2cGet(t, before, "/") // who comes back has a session
			p.Must("deploy", "web", fresh)
			v := harness.NewVisitor(t, p.HTTP, "web.test")
			first := h2cGet(t, v, "/a")
			if !strings.HasPrefix(first, "HTTP/2.0 GET /a 0 from ") {
				t.Errorf("the new release: %q", first)
			}
			for range 10 {
				if got := h2cGet(t, v, "/a"); got != first {
					t.Errorf("a visitor moved: %q after %q", got, first)
				}
			}
			if got := h2cGet(t, before, "/"); !strings.HasPrefix(got, "HTTP/1.1 GET /") {
				t.Errorf("a visitor of the old release: %q", got)
			}
			resp, body, err := v.Do("POST", "/up", bytes.NewReader(make([]byte, 3<<20)))
			if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "HTTP/2.0 POST /up 3145728 ") {
				t.Errorf("an upload: %q, %v", body, err)
			}
			if out := p.Must("export", "haproxy"); !strings.Contains(out, " proto h2 check-proto h2") || !strings.Contains(out, "ver HTTP/2 ") {
				t.Errorf("the export:\n%s", out)
			}
			h2cKill(t, p, agents["server-1"])
		})
	}
}

func h2cGet(t *testing.T, v *harness.Visitor, path string) string {
	t.Helper()
	resp, body, err := v.Do("GET", path, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %v %s", path, resp, err, body)
	}
	return string(body)
}

// h2cKill kills a server while visitors ask without a session.
func h2cKill(t *testing.T, p *harness.Proxy, a *harness.Agent) {
	t.Helper()
	var stop atomic.Bool
	var wg sync.WaitGroup
	var asked atomic.Int64
	for range 8 {
		wg.Go(func() {
			c := &http.Client{Timeout: farAway, Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for !stop.Load() {
				r, _ := http.NewRequest("GET", "http://"+p.HTTP+"/x", nil)
				r.Host = "web.test"
				resp, err := c.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				asked.Add(1)
				if resp.StatusCode != http.StatusOK {
					t.Errorf("status %d", resp.StatusCode)
				}
				<-time.After(10 * time.Millisecond)
			}
		})
	}
	<-time.After(500 * time.Millisecond)
	a.KillWithSites()
	settled(t, p, "web", 1)
	stop.Store(true)
	wg.Wait()
	if asked.Load() < 10 {
		t.Error(fmt.Sprint("only ", asked.Load(), " requests"))
	}
}

// A server of another make is a site like any other, over connections that take few requests at once.
func TestNghttpd(t *testing.T) {
	t.Parallel()
	nghttpd := harness.Need(t, "nghttpd")
	dir, big := t.TempDir(), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := os.WriteFile(filepath.Join(dir, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	addr := harness.Addr(t)
	host, port, _ := net.SplitHostPort(addr)
	server := exec.Command(nghttpd, "--no-tls", "--address="+host, "--htdocs="+dir, "--echo-upload", "--max-concurrent-streams=5", port)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			config, _ := certificateConfig(t, fmt.Sprintf("[[site]]\nname = \"files\"\nprotocol = \"h2c\"\nhealth.path = \"/big\"\n[[site.upstream]]\nname = \"one\"\naddr = %q\n", addr))
			p := harness.StartProxy(t, append(config, "--set", "proxy.engine="+engine)...)
			settled(t, p, "files", 1)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					v := harness.NewVisitor(t, p.HTTP, "files.test")
					resp, body, err := v.Do("GET", "/big", nil)
					if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(body, big) {
						t.Errorf("%v: %d bytes of %d, %v", resp, len(body), len(big), err)
					}
					if resp, body, err = v.Do("POST", "/echo", bytes.NewReader(big)); err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(body, big) {
						t.Errorf("%v: %d bytes of %d came back, %v", resp, len(body), len(big), err)
					}
				})
			}
			wg.Wait()
		})
	}
}
