package agent_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// site runs the test's server as site shop and returns its instance.
func (c *cluster) site(s sites.Settings) messages.InstanceReport {
	c.t.Helper()
	rel := c.serverRelease("1")
	c.want(current("shop", rel, s))
	return c.awaitHealthy(rel)
}

// TestRelay: what an instance can do over HTTP/1.1, a proxy gets unchanged.
func TestRelay(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	inst := c.site(runSettings())
	client := c.via(a.Addr(), inst.ID+".instance")

	t.Run("fields", func(t *testing.T) {
		req, err := http.NewRequest(http.MethodGet, "https://shop.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "192.0.2.7")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if h := res.Header; h.Get("X-Host") != "shop.example" || h.Get("X-Forwarded") != "192.0.2.7" {
			t.Errorf("the instance saw host %q, forwarded for %q", h.Get("X-Host"), h.Get("X-Forwarded"))
		}
	})
	t.Run("stream", func(t *testing.T) {
		res, err := client.Get("https://shop.example/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		events := 0
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data:") {
				events++
				get(t, client, "/next") // an event that were held would never be followed by another
			}
		}
		if events != 3 || lines.Err() != nil {
			t.Errorf("%d events came; %v", events, lines.Err())
		}
	})
	t.Run("trailer", func(t *testing.T) {
		res, err := client.Get("https://shop.example/trailer")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if res.Trailer.Get("X-Sum") != "4" {
			t.Errorf("trailer is %v", res.Trailer)
		}
	})
	t.Run("large body", func(t *testing.T) {
		const size = 32 << 20
		res, err := client.Post("https://shop.example/echo", "application/octet-stream", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
			t.Errorf("%d bytes came back: %v", n, err)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		conn := c.dial(t, a.Addr().String(), "proxy1", inst.ID+".instance")
		fmt.Fprint(conn, "GET /upgrade HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answer %v, %v", res, err)
		}
		for i := range 3 {
			fmt.Fprintf(conn, "%d\n", i)
			if line, err := r.ReadString('\n'); line != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("%q came back: %v", line, err)
			}
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// dial makes one connection as a member.
func (c *cluster) dial(t *testing.T, addr, member, name string) *tls.Conn {
	t.Helper()
	config := c.ca.client(t, member)
	config.ServerName = name
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waitTime))
	return conn
}

// refused reports whether a member gets nothing under a server name: no handshake,
// or a connection that is closed before any answer.
func (c *cluster) refused(t *testing.T, addr, member, name, path string) bool {
	t.Helper()
	config := c.ca.client(t, member)
	config.ServerName = name
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return true
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitTime))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.example\r\n\r\n", path)
	_, err = http.ReadResponse(bufio.NewReader(conn), nil)
	return err != nil
}

// status is what a member is answered under a server name.
func (c *cluster) status(t *testing.T, addr, member, name, path string) int {
	t.Helper()
	conn := c.dial(t, addr, member, name)
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", path)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// TestDoors: who gets in where. Instances and logs are for proxies, objects for
// every member, nothing for anybody else; a revoked proxy is cut at once, also on
// connections that are open (M9).
func TestDoors(t *testing.T) {
	c := newCluster(t)
	o := c.options(t.TempDir())
	var revoked atomic.Bool
	o.Identify = identify(func(name string) bool { return name == "proxy2" && revoked.Load() })
	a := c.start(o)
	inst := c.site(runSettings())
	addr := a.Addr().String()
	object := "/v1/objects/" + inst.Release
	for _, tt := range []struct {
		member, name, path string
		in                 bool
	}{
		{"proxy1", inst.ID + ".instance", "/", true},
		{"proxy1", "agent", "/v1/healthz", true},
		{"proxy1", "agent", "/v1/logs/shop", true},
		{"proxy1", "agent", messages.ChecksPath, true},
		{"app2", "agent", messages.ChecksPath, false},
		{"proxy1", "objects", object, true},
		{"app2", "objects", object + "?release=" + inst.Release, true},
		{"app2", "agent", "/v1/logs/shop", false},
		{"app2", inst.ID + ".instance", "/", false},
		{"proxy1", strings.Repeat("a", 26) + ".instance", "/", false},
		{"proxy1", "shop.instance", "/", false},
	} {
		if got := !c.refused(t, addr, tt.member, tt.name, tt.path); got != tt.in {
			t.Errorf("%s at %s: let in: %v, want %v", tt.member, tt.name, got, tt.in)
		}
	}
	// Another application server gets the files of a site that both run, and of no other.
	for _, tt := range []struct {
		servers []string
		path    string
		status  int
	}{
		{nil, object, http.StatusForbidden},
		{nil, object + "?release=" + strings.Repeat("b", 64), http.StatusForbidden},
		{[]string{"app1", "app3"}, object + "?release=" + inst.Release, http.StatusForbidden},
		{[]string{"app1", "app2"}, object + "?release=" + inst.Release, http.StatusOK},
		{[]string{"app1", "app2"}, "/v1/objects/" + strings.Repeat("b", 64) + "?release=" + inst.Release, http.StatusNotFound},
	} {
		c.update(func(w *messages.Wanted) { w.Releases[0].Servers = tt.servers })
		var got int
		for deadline := time.Now().Add(waitTime); got != tt.status && time.Now().Before(deadline); { // until the agent has heard of the change
			got = c.status(t, addr, "app2", "objects", tt.path)
		}
		if got != tt.status {
			t.Errorf("app2 asks for %s while %v may have it: %d, want %d", tt.path, tt.servers, got, tt.status)
		}
	}
	stranger := newAuthority(t).client(t, "proxy1")
	stranger.InsecureSkipVerify, stranger.ServerName = true, inst.ID+".instance"
	if conn, err := tls.Dial("tcp", addr, stranger); err == nil {
		_ = conn.SetDeadline(time.Now().Add(waitTime))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("M2: a stranger was let in")
		}
		_ = conn.Close()
	}
	conn := c.dial(t, addr, "proxy2", inst.ID+".instance")
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	revoked.Store(true)
	c.update(func(*messages.Wanted) {})
	if _, err := r.ReadByte(); err == nil {
		t.Error("M9: the open connection of a revoked proxy still talks")
	}
	if !c.refused(t, addr, "proxy2", inst.ID+".instance", "/") {
		t.Error("M9: a revoked proxy was let in")
	}
}

// TestRevokedWhileLetIn: a proxy is revoked in the moment in which the agent has found that it may come in.
func TestRevokedWhileLetIn(t *testing.T) {
	c := newCluster(t)
	o := c.options(t.TempDir())
	var revoked, watched atomic.Bool
	asked, goOn := make(chan struct{}), make(chan struct{})
	inner := identify(func(name string) bool { return name == "proxy2" && revoked.Load() })
	o.Identify = func(cs tls.ConnectionState) (catalog.Role, string, error) {
		role, name, err := inner(cs)
		if name == "proxy2" && err == nil && watched.CompareAndSwap(true, false) {
			close(asked)
			<-goOn
		}
		return role, name, err
	}
	a := c.start(o)
	inst := c.site(runSettings())
	watched.Store(true)
	conn := c.dial(t, a.Addr().String(), "proxy2", inst.ID+".instance")
	<-asked
	revoked.Store(true)
	a.Recheck()
	close(goOn)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		t.Errorf("it got an answer: %s", res.Status)
	}
}

// TestRevokedIsNotObeyed: the agent keeps a connection to a proxy, on which a question waits for its answer. When the proxy is revoked,
// that answer is worth nothing any more, and it is not asked again.
func TestRevokedIsNotObeyed(t *testing.T) {
	c := newCluster(t)
	o := c.options(t.TempDir())
	var revoked atomic.Bool
	o.Identify = identify(func(string) bool { return revoked.Load() })
	a := c.start(o)
	c.site(runSettings())
	before := a.Wanted().Revision
	c.update(func(*messages.Wanted) {})
	deadline := time.Now().Add(waitTime)
	for a.Wanted().Revision == before {
		if time.Now().After(deadline) {
			t.Fatal("the proxy is not obeyed to begin with")
		}
		time.Sleep(10 * time.Millisecond)
	}
	revoked.Store(true)
	a.Recheck()
	before = a.Wanted().Revision
	c.update(func(w *messages.Wanted) { w.Releases = nil })
	time.Sleep(time.Second)
	if got := a.Wanted(); got.Revision != before || len(got.Releases) == 0 {
		t.Errorf("a revoked proxy was obeyed: revision %d, %d releases", got.Revision, len(got.Releases))
	}
}

// TestGone: when an instance ends, its connections end with it.
func TestGone(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	inst := c.site(runSettings())
	idle := c.dial(t, a.Addr().String(), "proxy1", inst.ID+".instance")
	fmt.Fprint(idle, "GET /upgrade HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(idle)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	_, _ = c.via(a.Addr(), inst.ID+".instance").Get("https://shop.example/exit?code=1")
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection outlives the process")
	}
	eventually(t, "the name is refused", func() bool {
		return c.refused(t, a.Addr().String(), "proxy1", inst.ID+".instance", "/")
	})
}

// TestNobodyListens: a proxy learns in the handshake that a process takes no
// connection any more. After it, the request would be on its way already, and a
// POST that may have arrived is never sent again.
func TestNobodyListens(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	s := runSettings()
	s.Health.Interval = units.Duration(time.Hour) // the agent does not find out by itself
	inst := c.site(s)
	get(t, c.via(a.Addr(), inst.ID+".instance"), "/unlisten")
	for _, name := range []string{inst.ID + ".instance", inst.ID + ".app1.member.portico"} {
		config := c.ca.client(t, "proxy1")
		config.ServerName, config.InsecureSkipVerify = name, true
		conn, err := tls.Dial("tcp", a.Addr().String(), config)
		if err == nil {
			_ = conn.Close()
			t.Errorf("the handshake for %s succeeds though nobody listens", name)
		}
	}
	if c.refused(t, a.Addr().String(), "proxy1", "agent", "/v1/healthz") {
		t.Error("the agent itself does not answer any more")
	}
}

// logTexts are the lines of an answer without what stands before them.
func logTexts(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		var l messages.LogLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return "not a line: " + line
		}
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

// TestLogs: the end of the logs of what runs and of what failed, each line with its time, its
// release and its instance, and what is written from then on, once, whichever of two processes
// writes it.
func TestLogs(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	a := c.start(c.options(dir))
	begun := time.Now()
	inst := c.site(runSettings())
	logs := c.via(a.Addr(), "agent")
	serving := c.via(a.Addr(), inst.ID+".instance")
	get(t, serving, "/log?bytes=100")
	bad := c.release(map[string]string{"fail*": "#!/bin/sh\necho no database\nexit 1\n"})
	failing := runSettings()
	failing.Run = []string{"./fail"}
	c.want(current("shop", inst.Release, runSettings()), candidate("shop", bad, failing, "d2"))
	c.awaitInstance("failed", bad, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })

	var lines []messages.LogLine
	for line := range strings.Lines(get(t, logs, "/v1/logs/shop")) {
		var l messages.LogLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 4 || lines[0].Text != "starting "+inst.ID || lines[2].Text != "last line" || lines[3].Text != "no database" {
		t.Fatalf("the log is %+v", lines)
	}
	for i, l := range lines {
		release := inst.Release
		if i == 3 {
			release = bad
		} else if l.Instance != inst.ID {
			t.Errorf("line %d is of instance %q", i, l.Instance)
		}
		if l.Release != release || l.At.Before(begun.Add(-time.Second)) || l.At.After(time.Now()) {
			t.Errorf("line %d of %s is %+v", i, release, l)
		}
	}
	if got := logTexts(get(t, logs, "/v1/logs/shop?release="+bad[:8])); got != "no database\nno database\n" {
		t.Errorf("both attempts of the release that failed wrote %q", got)
	}
	if got := logTexts(get(t, logs, "/v1/logs/shop?lines=1&instance="+inst.ID[:10])); got != "last line\n" {
		t.Errorf("the instance wrote %q", got)
	}
	if got := get(t, logs, "/v1/logs/shop?since="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)); got != "" {
		t.Errorf("of the next hour there is %q", got)
	}
	for path, want := range map[string]int{
		"/v1/logs/other": http.StatusNotFound, "/v1/logs/shop?lines=x": http.StatusBadRequest, "/v1/logs/shop?since=x": http.StatusBadRequest,
		"/v1/logs/..%2f..": http.StatusBadRequest, "/v1/logs/shop?instance=..%2f..%2fx": http.StatusBadRequest,
	} {
		if code, body := getCode(t, logs, path); code != want {
			t.Errorf("GET %s: %d %s, want %d", path, code, body, want)
		}
	}

	next := c.serverRelease("2")
	c.want(current("shop", inst.Release, runSettings()), candidate("shop", next, runSettings(), "d3"))
	beside := c.awaitHealthy(next)
	res, err := logs.Get("https://agent/v1/logs/shop?lines=0&follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	follow := bufio.NewScanner(res.Body)
	for _, id := range []string{inst.ID, beside.ID, inst.ID, beside.ID} {
		get(t, c.via(a.Addr(), id+".instance"), "/log?bytes=0")
		var l messages.LogLine
		if !follow.Scan() || json.Unmarshal(follow.Bytes(), &l) != nil || l.Text != "last line" || l.Instance != id {
			t.Fatalf("%q came, want a line of %s: %v", follow.Text(), id, follow.Err())
		}
	}
}

// TestObjectsFromMembers: a member that has a release gives it to another one
// (no proxy has it any more).
func TestObjectsFromMembers(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	inst := c.site(runSettings())
	other := newCluster(t) // its proxy has no objects
	other.ca = c.ca
	o := other.options(t.TempDir())
	o.Name = "app2"
	o.ServerTLS = c.ca.server(t, "app2")
	o.ClientTLS = func(role catalog.Role, _ string) *tls.Config {
		config := c.ca.client(t, "app2")
		if role == catalog.RoleProxy {
			config.InsecureSkipVerify = true // that proxy has another authority
		}
		return config
	}
	other.srv.TLS.ClientAuth = tls.RequestClientCert
	other.start(o)
	other.update(func(w *messages.Wanted) {
		w.Servers = []messages.Peer{{Name: "app1", Addr: a.Addr().String()}}
		w.Releases = []messages.WantedRelease{current("shop", inst.Release, runSettings())}
	})
	if got := other.awaitHealthy(inst.Release); got.Member != "app2" {
		t.Errorf("report is %+v", got)
	}
}
