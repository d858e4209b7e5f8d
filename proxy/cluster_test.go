package proxy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/internal/records"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy"
)

// agent is the application server's side as far as the proxy sees it: a mutual
// TLS listener that leads "INSTANCE.instance" to an address.
type agent struct {
	addr string
	l    net.Listener
	mu   sync.Mutex
	to   map[string]string
	gone atomic.Bool // nobody listens behind it, which it says in the handshake
	open map[net.Conn]bool
	wg   sync.WaitGroup

	resumed atomic.Int64 // TLS sessions
	unread  atomic.Bool  // the next POST ends its connection, and is not given to the instance
}

func newAgent(t testing.TB, cert tls.Certificate, pool *x509.CertPool) *agent {
	t.Helper()
	a := &agent{to: map[string]string{}, open: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if a.gone.Load() {
				return nil, errors.New("the instance takes no connection")
			}
			return nil, nil
		},
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13,
	}
	a.l, a.addr = l, l.Addr().String()
	a.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.wg.Go(func() { a.serve(tls.Server(&records.Ending{Conn: c}, config)) })
		}
	})
	t.Cleanup(func() { a.kill(); a.wg.Wait() })
	return a
}

func (a *agent) serve(c *tls.Conn) {
	defer c.Close()
	if c.Handshake() != nil {
		return
	}
	if c.ConnectionState().DidResume {
		a.resumed.Add(1)
	}
	a.mu.Lock()
	to := a.to[strings.TrimSuffix(c.ConnectionState().ServerName, ".instance")]
	a.open[c] = true
	a.mu.Unlock()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.give(up, c)
		_ = up.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, up)
	_ = c.Close()
	<-done
}

// give passes on to an instance what comes from the proxy.
func (a *agent) give(up net.Conn, c *tls.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		if bytes.HasPrefix(buf[:n], []byte("POST ")) && a.unread.Swap(false) {
			_ = c.NetConn().(*records.Ending).CloseUnread(c)
			_, _ = io.Copy(io.Discard, c)
			return
		}
		if _, werr := up.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (a *agent) route(id, addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.to[id] = addr
}

// kill ends the agent and all that goes through it.
func (a *agent) kill() {
	_ = a.l.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.open {
		_ = c.Close()
	}
}

// world is a cluster in the making: a view and what it takes to change it.
type world struct {
	t testing.TB
	f *front
	v catalog.View

	distrust atomic.Bool // no agent is a member any more
}

// update publishes the view after a change, as the catalog would: copied, and
// only the changed records anew.
func (w *world) update(change func(v *catalog.View)) {
	v := w.v
	v.Sites, v.Members, v.Instances = maps.Clone(v.Sites), maps.Clone(v.Members), maps.Clone(v.Instances)
	v.Revision++
	change(&v)
	w.v = v
	w.f.Update(&v)
}

func (w *world) rotation(id string, want bool) {
	w.t.Helper()
	w.f.eventually(fmt.Sprintf("in rotation of %s: %v", id, want), func() bool { return w.f.InRotation(id) == want })
}

func newWorld(t testing.TB, members ...string) (*world, map[string]*agent) {
	return newWorldWith(t, options(), members...)
}

func newWorldWith(t testing.TB, o proxy.Options, members ...string) (*world, map[string]*agent) {
	cert, pool := certificate(t, "member.test")
	w := &world{t: t}
	o.AgentTLS = func(member string) *tls.Config {
		return &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
			InsecureSkipVerify: true, // the name is that of the instance; the chain is checked below
			VerifyConnection: func(cs tls.ConnectionState) error {
				if w.distrust.Load() {
					return errors.New("no member")
				}
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool})
				return err
			},
		}
	}
	w.f = start(t, o)
	w.v = catalog.View{Sites: map[string]*catalog.Site{}, Members: map[string]*catalog.Member{}, Instances: map[string]*catalog.Instance{}, Releases: map[string]map[string]*catalog.Release{}}
	agents := map[string]*agent{}
	for _, m := range members {
		agents[m] = newAgent(t, cert, pool)
		w.v.Members[m] = &catalog.Member{Name: m, Role: catalog.RoleServer, Admission: catalog.Accepted, Fingerprint: "key of " + m, Addr: agents[m].addr}
	}
	return w, agents
}

func shop(release string) *catalog.Site {
	return &catalog.Site{Name: "shop", Release: release, Manifest: sites.Settings{
		Front: sites.Front{Hosts: []string{"shop.test"}, Health: sites.Health{Interval: units.Duration(100 * time.Millisecond), Timeout: units.Duration(5 * time.Second)}},
	}}
}

func instance(id, member, release string) *catalog.Instance {
	return &catalog.Instance{ID: id, Site: "shop", Member: member, Release: release, State: catalog.InstanceHealthy}
}

// TestDeployThroughAgents walks a deploy as the proxy sees it: old instances
// serve, candidates are checked and get nobody, the switch sends new visitors to
// the new release and leaves old ones where they are, until their instance goes.
func TestDeployThroughAgents(t *testing.T) {
	w, agents := newWorld(t, "m1", "m2")
	apps := map[string]*app{}
	for _, id := range []string{"old1", "old2", "new1", "new2"} {
		apps[id] = newApp(t, id)
		agents["m"+id[3:]].route(id, apps[id].addr)
	}
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = shop("r1")
		v.Instances["old1"], v.Instances["old2"] = instance("old1", "m1", "r1"), instance("old2", "m2", "r1")
	})
	w.rotation("old1", true)
	w.rotation("old2", true)
	old := visitor(t, w.f)
	_, first := get(t, old, "http://shop.test/")
	home, _, _ := strings.Cut(first, " ")

	w.update(func(v *catalog.View) {
		s := *v.Sites["shop"]
		s.Candidate = "r2"
		v.Sites["shop"] = &s
		v.Instances["new1"], v.Instances["new2"] = instance("new1", "m1", "r2"), instance("new2", "m2", "r2")
	})
	w.rotation("new1", true)
	w.rotation("new2", true)
	for range 10 {
		if _, body := get(t, visitor(t, w.f), "http://shop.test/"); !strings.HasPrefix(body, "old") {
			t.Errorf("a candidate got a visitor: %q", body)
		}
	}
	w.update(func(v *catalog.View) {
		s := *v.Sites["shop"]
		s.Release, s.Candidate = "r2", ""
		s.Retiring = []catalog.Retiring{{Release: "r1", Deadline: time.Now().Add(time.Hour)}}
		v.Sites["shop"] = &s
	})
	for range 10 {
		if _, body := get(t, visitor(t, w.f), "http://shop.test/", "User-Agent", fmt.Sprint(time.Now())); !strings.HasPrefix(body, "new") {
			t.Errorf("after the switch a new visitor got %q", body)
		}
		if _, body := get(t, old, "http://shop.test/"); !strings.HasPrefix(body, home) {
			t.Errorf("an old visitor of %s got %q", home, body)
		}
	}
	if sessions, _, known := w.f.Load(home); sessions < 1 || known {
		t.Errorf("%d sessions counted on %s, which is older than the proxy: known = %v", sessions, home, known)
	}
	if _, _, known := w.f.Load("new1"); !known {
		t.Error("the sessions of an instance that began under the proxy's eyes are not known")
	}
	if w.f.InRotation(home) {
		t.Errorf("%s is still in rotation", home)
	}
	w.update(func(v *catalog.View) {
		s := *v.Sites["shop"]
		s.Retiring = nil
		v.Sites["shop"] = &s
		delete(v.Instances, "old1")
		delete(v.Instances, "old2")
	})
	_, body := get(t, old, "http://shop.test/")
	if !strings.HasPrefix(body, "new") {
		t.Errorf("after the end of its instance the visitor got %q", body)
	}
	if n := apps["new1"].lost.Load() + apps["new2"].lost.Load(); n != 1 {
		t.Errorf("%d requests told of a lost session, want 1", n)
	}
	moved, _, _ := strings.Cut(body, " ")
	if _, body := get(t, old, "http://shop.test/"); !strings.HasPrefix(body, moved) {
		t.Errorf("the visitor moved again, to %q", body)
	}
	if n := apps["new1"].lost.Load() + apps["new2"].lost.Load(); n != 1 {
		t.Errorf("the loss was told %d times", n)
	}
}

// TestCauseOfACut: a release whose time is over, and one that somebody cut short, are
// told apart, whether its instances still run or have gone.
func TestCauseOfACut(t *testing.T) {
	retiring := func(since, deadline time.Duration) func(*catalog.Site) {
		return func(s *catalog.Site) {
			now := time.Now()
			s.Retiring = []catalog.Retiring{{Release: "r1", Since: now.Add(since), Deadline: now.Add(deadline)}}
		}
	}
	over := func(s *catalog.Site) { s.Retiring = nil }
	f := func(name string, want balancer.Cause, steps ...func(*catalog.Site)) {
		t.Helper()
		w, agents := newWorld(t, "m1")
		agents["m1"].route("old", newApp(t, "old").addr)
		agents["m1"].route("new", newApp(t, "new").addr)
		w.update(func(v *catalog.View) {
			v.Sites["shop"], v.Instances["old"] = shop("r1"), instance("old", "m1", "r1")
		})
		w.rotation("old", true)
		first, second := visitor(t, w.f), visitor(t, w.f)
		_, _ = get(t, first, "http://shop.test/")
		_, _ = get(t, second, "http://shop.test/", "User-Agent", "second")
		w.update(func(v *catalog.View) {
			s := *v.Sites["shop"]
			s.Candidate = "r2"
			v.Sites["shop"], v.Instances["new"] = &s, instance("new", "m1", "r2")
		})
		w.f.eventually("the candidate is up", func() bool { return w.f.Balancer().Pool("shop").Upstream("new").State() == balancer.Up })
		for _, step := range steps {
			w.update(func(v *catalog.View) {
				s := *v.Sites["shop"]
				s.Release, s.Candidate = "r2", ""
				step(&s)
				v.Sites["shop"] = &s
			})
		}
		_, _ = get(t, first, "http://shop.test/")
		w.update(func(v *catalog.View) { delete(v.Instances, "old") })
		_, _ = get(t, second, "http://shop.test/", "User-Agent", "second")
		w.f.eventually(name+": both visitors are told "+want.String(), func() bool { return w.f.Balancer().Pool("shop").Lost[want].Load() == 2 })
	}
	f("the pin's deadline has passed", balancer.CauseDeadline, retiring(-time.Hour, -time.Second), over)
	f("cut before its deadline", balancer.CauseOperator, retiring(-time.Hour, time.Hour), over)
	f("never pinned", balancer.CauseOperator, retiring(0, 0), over)
	f("never pinned, in one step", balancer.CauseOperator, over)
}

// TestCauseOfMaintenance: visitors of a server or an instance in maintenance are told
// whether somebody wanted it, or the deadline of a drain had passed, also once it has gone.
func TestCauseOfMaintenance(t *testing.T) {
	f := func(name string, want balancer.Cause, cut func(m *catalog.Member, in *catalog.Instance)) {
		t.Helper()
		w, agents := newWorld(t, "m1", "m2")
		agents["m1"].route("one", newApp(t, "one").addr)
		agents["m2"].route("two", newApp(t, "two").addr)
		w.update(func(v *catalog.View) { v.Sites["shop"], v.Instances["one"] = shop("r1"), instance("one", "m1", "r1") })
		w.rotation("one", true)
		first, second := visitor(t, w.f), visitor(t, w.f)
		_, _ = get(t, first, "http://shop.test/")
		_, _ = get(t, second, "http://shop.test/", "User-Agent", "second")
		w.update(func(v *catalog.View) { v.Instances["two"] = instance("two", "m2", "r1") })
		w.rotation("two", true)
		w.update(func(v *catalog.View) {
			m, in := *v.Members["m1"], *v.Instances["one"]
			cut(&m, &in)
			v.Members["m1"], v.Instances["one"] = &m, &in
		})
		_, _ = get(t, first, "http://shop.test/")
		w.update(func(v *catalog.View) { delete(v.Instances, "one") })
		_, _ = get(t, second, "http://shop.test/", "User-Agent", "second")
		w.f.eventually(name+": both visitors are told "+want.String(), func() bool { return w.f.Balancer().Pool("shop").Lost[want].Load() == 2 })
	}
	f("the server's deadline", balancer.CauseDeadline, func(m *catalog.Member, _ *catalog.Instance) { m.Admin, m.Overdue = catalog.AdminMaint, true })
	f("the instance's deadline", balancer.CauseDeadline, func(_ *catalog.Member, in *catalog.Instance) { in.Admin, in.Overdue = catalog.AdminMaint, true })
	f("the server, by hand", balancer.CauseOperator, func(m *catalog.Member, _ *catalog.Instance) { m.Admin = catalog.AdminMaint })
	f("the instance, by hand", balancer.CauseOperator, func(_ *catalog.Member, in *catalog.Instance) { in.Admin = catalog.AdminMaint })
}

// TestPostToAnInstanceThatIsGone: an agent that breaks off the handshake, because
// its instance takes no connection, was sent nothing: a POST goes to another
// instance, once.
func TestPostToAnInstanceThatIsGone(t *testing.T) {
	w, agents := newWorld(t, "m1", "m2")
	var posts atomic.Int64
	for id, member := range map[string]string{"one": "m1", "two": "m2"} {
		addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
			if b, _ := io.ReadAll(r.Body); string(b) == "order" {
				posts.Add(1)
			}
			fmt.Fprint(w, id)
		})
		agents[member].route(id, addr)
	}
	w.update(func(v *catalog.View) {
		s := shop("r1")
		s.Manifest.Policy = "round-robin"
		s.Manifest.Health.Interval = units.Duration(time.Hour) // nobody finds out but by asking
		v.Sites["shop"] = s
		v.Instances["one"], v.Instances["two"] = instance("one", "m1", "r1"), instance("two", "m2", "r1")
	})
	w.rotation("one", true)
	w.rotation("two", true)
	agents["m1"].gone.Store(true)
	for i := range 6 {
		r, err := http.NewRequest(http.MethodPost, "http://shop.test/", strings.NewReader("order"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", fmt.Sprint("visitor ", i))
		resp, err := w.f.client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(b) != "two" {
			t.Errorf("POST %d: %d %q", i, resp.StatusCode, b)
		}
	}
	if n := w.f.Snapshot().Pools[0].Sum.ConnectErrors; n == 0 {
		t.Error("nobody was sent to the instance that is gone: the test tests nothing")
	}
	if n := posts.Load(); n != 6 {
		t.Errorf("6 POSTs arrived %d times", n)
	}
}

// TestChecksResumeTLS: each check has a connection of its own, and all but the first resume
// the session of the one before; who answers is verified all the same.
func TestChecksResumeTLS(t *testing.T) {
	w, agents := newWorld(t, "m1")
	agents["m1"].route("one", newApp(t, "one").addr)
	w.update(func(v *catalog.View) { v.Sites["shop"], v.Instances["one"] = shop("r1"), instance("one", "m1", "r1") })
	w.rotation("one", true)
	w.f.eventually("checks resume their TLS session", func() bool { return agents["m1"].resumed.Load() >= 5 })
	w.distrust.Store(true)
	w.rotation("one", false)
}

// TestMembers: drain keeps visitors, maintenance moves them, a process that exited
// takes nothing at once, and a revoked member is cut, also where it is in use.
func TestMembers(t *testing.T) {
	w, agents := newWorld(t, "m1", "m2")
	a, b := newApp(t, "a"), newApp(t, "b")
	agents["m1"].route("one", a.addr)
	agents["m2"].route("two", b.addr)
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = shop("r1")
		v.Instances["one"] = instance("one", "m1", "r1")
	})
	w.rotation("one", true)
	v := visitor(t, w.f)
	_, _ = get(t, v, "http://shop.test/")
	set := func(member string, change func(*catalog.Member)) {
		w.update(func(v *catalog.View) {
			m := *v.Members[member]
			change(&m)
			v.Members[member] = &m
		})
	}
	w.update(func(v *catalog.View) { v.Instances["two"] = instance("two", "m2", "r1") })
	w.rotation("two", true)
	set("m1", func(m *catalog.Member) { m.Admin = catalog.AdminDrain })
	if _, body := get(t, v, "http://shop.test/"); body != "a 2" {
		t.Errorf("in drain, the visitor got %q", body)
	}
	if _, body := get(t, visitor(t, w.f), "http://shop.test/", "User-Agent", "new"); body != "b 1" {
		t.Errorf("in drain, a new visitor got %q", body)
	}
	set("m1", func(m *catalog.Member) { m.Admin = catalog.AdminMaint })
	if _, body := get(t, v, "http://shop.test/"); body != "b 1" {
		t.Errorf("in maintenance, the visitor got %q", body)
	}
	set("m1", func(m *catalog.Member) { m.Admin = catalog.AdminReady })
	if _, body := get(t, v, "http://shop.test/"); body != "b 2" {
		t.Errorf("after maintenance, the visitor went back: %q", body)
	}
	w.update(func(v *catalog.View) {
		in := *v.Instances["two"]
		in.State = catalog.InstanceExited
		v.Instances["two"] = &in
	})
	if w.f.InRotation("two") {
		t.Error("an instance whose process exited is in rotation")
	}
	if _, body := get(t, v, "http://shop.test/"); !strings.HasPrefix(body, "a ") {
		t.Errorf("after the exit, the visitor got %q", body)
	}
	// A request runs at m1 while it is revoked.
	slow := make(chan struct{})
	addr, _ := origin(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "portico-check" {
			rw.(http.Flusher).Flush()
			<-slow
		}
	})
	defer close(slow)
	agents["m1"].route("three", addr)
	w.update(func(v *catalog.View) {
		v.Instances = map[string]*catalog.Instance{"three": instance("three", "m1", "r1")}
	})
	w.rotation("three", true)
	resp, err := w.f.client().Get("http://shop.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	set("m1", func(m *catalog.Member) { m.Admission = catalog.Revoked })
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("an answer from a revoked member came to its end")
	}
	if resp, _ := get(t, w.f.client(), "http://shop.test/"); resp.StatusCode != 503 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// TestAgentDies: an agent that is gone for longer than the patience takes its visitors' instance with it; the
// idempotent ones notice nothing but the move, if that is no longer than a request may wait.
func TestAgentDies(t *testing.T) {
	w, agents := newWorld(t, "m1", "m2")
	a, b := newApp(t, "a"), newApp(t, "b")
	agents["m1"].route("one", a.addr)
	agents["m2"].route("two", b.addr)
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = shop("r1")
		v.Sites["shop"].Manifest.Session.Patience = units.Duration(time.Second)
		v.Instances["one"], v.Instances["two"] = instance("one", "m1", "r1"), instance("two", "m2", "r1")
	})
	w.rotation("one", true)
	w.rotation("two", true)
	var at []*http.Client
	for i := range 20 {
		v := visitor(t, w.f)
		if _, body := get(t, v, "http://shop.test/", "User-Agent", fmt.Sprint(i)); strings.HasPrefix(body, "a") {
			at = append(at, v)
		}
	}
	if len(at) == 0 {
		t.Fatal("nobody is on the first instance")
	}
	agents["m1"].kill()
	w.f.CheckNow("m1")
	for _, v := range at {
		if resp, body := get(t, v, "http://shop.test/"); resp.StatusCode != 200 || !strings.HasPrefix(body, "b") {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	w.rotation("one", false)
	if n := int(b.lost.Load()); n != len(at) {
		t.Errorf("%d visitors were told, want %d", n, len(at))
	}
	w.f.eventually("every loss counted", func() bool { // a request is accounted for after its last byte has gone out
		snap := w.f.Snapshot()
		return len(snap.Pools) == 1 && snap.Pools[0].Lost["network"]+snap.Pools[0].Lost["member-failed"] == uint64(len(at))
	})
}
