package admin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/balancer"
	"portico/balancer/figures"
	"portico/balancer/seal"
	"portico/conf/sites"
	"portico/deployhook"
	"portico/deployhook/logs"
	"portico/internal/refusal"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
	"portico/proxy/admin"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
	"portico/proxy/haproxy"
	"portico/proxy/recent"
	"portico/tests/support/seals"
	"portico/tests/support/written"
)

// shared is one catalog for all tests of the package: embedded etcd takes a
// moment to start, and each test makes its own records.
var shared *catalog.Catalog

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shared, err = catalog.Open(context.Background(), catalog.Options{Dir: dir, Name: "proxy-1", Key: bytes.Repeat([]byte{7}, catalog.KeySize)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// env is a running admin listener with an account of each role.
type env struct {
	t      *testing.T
	server *httptest.Server
	admin  *admin.Server
	log    *written.Buffer
	tokens map[string]string // by account
	adm    *fakeAdmission
	dep    *fakeDeploys
	snap   figures.Proxy
}

// pool is one of the snapshot's.
func (e *env) pool(site string) (figures.Pool, bool) {
	i := slices.IndexFunc(e.snap.Pools, func(p figures.Pool) bool { return p.Name == site })
	if i < 0 {
		return figures.Pool{}, false
	}
	return e.snap.Pools[i], true
}

const password = "correct horse battery"

var hashOnce = sync.OnceValues(func() (string, error) { return access.HashPassword(password) })

// start makes the listener; change may set more options.
func start(t *testing.T, change func(*admin.Options)) *env {
	t.Helper()
	e := &env{t: t, log: &written.Buffer{}, tokens: map[string]string{}, adm: &fakeAdmission{}, dep: &fakeDeploys{catalog: shared}}
	e.snap = snapshot()
	o := admin.Options{
		Catalog: shared, Logger: slog.New(slog.NewJSONHandler(e.log, nil)), Name: "proxy-1", Version: "1.2.3",
		Started: time.Now().Add(-3 * time.Hour), Hosts: []string{"proxy.example.com"},
		Snapshot:  func() figures.Proxy { return e.snap },
		Pool:      e.pool,
		Recent:    func(id string, _ time.Duration) int { return len(id) },
		Admission: e.adm, Deploys: e.dep, Drains: fakeDrains{}, Balancer: pools(t),
		TurnedAway: func() []membership.Turned {
			return []membership.Turned{{Name: "app-1", Reason: "another key", Times: 3}}
		},
		RotateKeys: map[string]func(context.Context) error{api.KeySession: func(context.Context) error { return nil }},
		Explain:    func(q api.ExplainQuery) (any, error) { return q, nil },
		Exchanges: func(q api.ExchangeQuery) []recent.Exchange {
			return []recent.Exchange{{ID: "0123456789abcdef", Site: "shop", Path: "/basket", Status: 200}, {ID: "1123456789abcdef", Site: "blog", Status: 502, Failed: true}, {ID: "2123456789abcdef", Status: 404}}
		},
		Archive: http.HandlerFunc(e.dep.archive),
		Logs: func(_ context.Context, w io.Writer, q logs.Query) error {
			_, err := fmt.Fprintf(w, "%s %d\n", q.Site, q.Lines)
			return err
		},
		Backup:  func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "backup"); return err },
		HAProxy: func() haproxy.Options { return haproxy.Options{} },
		ClientCertificate: func(context.Context, string, []byte, string) (client, ca []byte, err error) {
			return []byte("CERTIFICATE"), []byte("CA"), nil
		},
		Members: map[string]http.Handler{"POST /v1/knock": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })},
	}
	if change != nil {
		change(&o)
	}
	s, err := admin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e.admin = s
	e.server = httptest.NewTLSServer(s)
	t.Cleanup(e.server.Close)
	hash, err := hashOnce()
	if err != nil {
		t.Fatal(err)
	}
	e.update(func(tx *catalog.Tx) error {
		for _, role := range roles {
			a := catalog.Account{Name: role, Role: catalog.AccountRole(role), Password: hash}
			if role == "scoped" {
				a.Role, a.Sites = catalog.RoleDeployer, []string{"shop"}
			}
			if err := tx.PutAccount(a); err != nil {
				return err
			}
			record, text := command.NewToken(role, "test", 0, time.Now())
			if err := tx.PutToken(record); err != nil {
				return err
			}
			e.tokens[role] = text
		}
		return records(tx)
	})
	return e
}

// roles are the accounts of every env; scoped is a deployer of shop only.
var roles = []string{"viewer", "scoped", "deployer", "operator", "admin"}

func (e *env) update(change func(tx *catalog.Tx) error) {
	e.t.Helper()
	if _, err := shared.Update(context.Background(), change); err != nil {
		e.t.Fatal(err)
	}
}

func records(tx *catalog.Tx) error {
	now := time.Now().UTC()
	for _, m := range []catalog.Member{
		{Name: "app-1", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminReady, Addr: "10.0.0.1:7444", Fingerprint: strings.Repeat("ab", 32), Version: "1.2.3", Platform: "linux/amd64", Runtimes: map[string]string{"tomcat": "10.1.34"}},
		{Name: "app-2", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminDrain, Addr: "10.0.0.2:7444", Fingerprint: strings.Repeat("cd", 32), Version: "1.2.3", Platform: "linux/amd64"},
		{Name: "newbie", Role: catalog.RoleServer, Admission: catalog.Pending, Addr: "10.0.0.9:7444", Fingerprint: strings.Repeat("ef", 32), Version: "1.2.3", Platform: "windows/amd64", Knocked: now.Add(-time.Minute)},
		{Name: "proxy-1", Role: catalog.RoleProxy, Admission: catalog.Accepted, Addr: "10.0.0.10:7443", Version: "1.2.3", Platform: "linux/amd64"},
	} {
		if err := tx.PutMember(m); err != nil {
			return err
		}
	}
	for _, name := range []string{"shop", "blog"} {
		if err := tx.PutSite(catalog.Site{Name: name, Release: digest("b"), Manifest: sites.Settings{Kind: sites.KindStatic, Front: sites.Front{Hosts: []string{name + ".example.com"}}}, Created: now, Updated: now}); err != nil {
			return err
		}
		if err := tx.PutRelease(catalog.Release{Site: name, Digest: digest("b"), Archive: name + ".zip", Created: now}); err != nil {
			return err
		}
		if err := tx.PutRelease(catalog.Release{Site: name, Digest: digest("a"), Archive: name + ".zip", Created: now.Add(-time.Hour)}); err != nil {
			return err
		}
		if err := tx.PutDeploy(catalog.Deploy{ID: "deploy-" + name, Site: name, Release: digest("b"), Previous: digest("a"), State: catalog.DeploySucceeded, Created: now, Ended: now,
			Members: map[string]catalog.MemberProgress{"app-1": {Step: catalog.StepInRotation}}, By: "admin"}); err != nil {
			return err
		}
	}
	return nil
}

func digest(c string) string { return strings.Repeat(c, 64) }

// snapshot is a proxy's traffic with two sites on two members.
func snapshot() figures.Proxy {
	up := func(member string, n uint64) figures.Upstream {
		u := figures.Upstream{
			ID: "i-" + member, Name: member, Member: member, Addr: "10.0.0.1:7444", Release: digest("b"), State: figures.Up, Status: "UP",
			InRotation: true, LastChange: figures.Millis(3 * time.Hour), Weight: 100, WeightConfigured: 100, Sessions: 40, InFlight: 3,
			CheckCode: "L7OK", CheckStatus: 200, CheckTime: figures.Millis(2 * time.Millisecond), Rise: 2, Fall: 3, Level: 4,
			Traffic: figures.Traffic{Total: n, Rate: 12.5}, Totals: figures.Totals{Responses: figures.Responses{Status2xx: n}},
		}
		return u
	}
	pool := func(name string) figures.Pool {
		p := figures.Pool{Name: name, Policy: "least-sessions", Status: "UP", LastChange: figures.Millis(4 * time.Hour), Active: 2, Sessions: 80}
		p.Upstreams = []figures.Upstream{up("app-1", 1000), up("app-2", 500)}
		return p
	}
	return figures.Proxy{
		At: time.Now(), Started: time.Now().Add(-3 * time.Hour),
		Frontends: []figures.Frontend{{Name: "http", Addr: "127.0.0.1:80", Requests: 1500, ReqRate: 25, Responses: figures.Responses{Status2xx: 1500}}},
		Pools:     []figures.Pool{pool("shop"), pool("blog")},
	}
}

// pools is a balancer with the site shop on app-1.
func pools(t *testing.T) *balancer.Balancer {
	b, err := balancer.New(balancer.Options{Keys: []seal.Key{seals.NewKey(1, time.Now())}})
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range []string{"shop", "blog"} {
		if _, err := b.NewPool(site, []balancer.Spec{{ID: "i-app-1", Member: "app-1", Release: digest("b")}}, balancer.Config{}, time.Now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

type fakeAdmission struct {
	mu   sync.Mutex
	done []string
}

func (f *fakeAdmission) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, what)
}

func (f *fakeAdmission) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.done...)
}

func (f *fakeAdmission) Accept(_ context.Context, name, _, by string, _ ...string) error {
	f.note("accept " + name + " " + by)
	return nil
}

func (f *fakeAdmission) Refuse(_ context.Context, name, _, by string) error {
	f.note("refuse " + name + " " + by)
	return nil
}

func (f *fakeAdmission) Revoke(_ context.Context, name, _, by string) error {
	f.note("revoke " + name + " " + by)
	return nil
}

func (f *fakeAdmission) Invite(_ context.Context, role catalog.Role, ttl time.Duration, by string, _ ...string) (api.InviteAnswer, error) {
	f.note("invite " + by)
	return api.InviteAnswer{Code: "code", ID: "inv", Role: role, Expires: time.Now().Add(ttl)}, nil
}

// Cancel implements admin.Deploys.
func (f *fakeDeploys) Cancel(_ context.Context, site, by string) (catalog.Deploy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, "cancel "+site+" "+by)
	return catalog.Deploy{ID: "deploy-" + site, Site: site, State: catalog.DeployFailed, By: by}, nil
}

// fakeDrains changes members in the catalog and drains nothing else.
type fakeDrains struct{}

func (fakeDrains) Drains() []deployhook.Drain {
	return []deployhook.Drain{{
		Kind: deployhook.DrainMember, Object: "app-2", Member: "app-2", Instances: 1,
		DrainOrder: catalog.DrainOrder{Since: time.Now().Add(-10*time.Hour - 30*time.Second), By: "operator", DrainProgress: catalog.DrainProgress{Lost: 2, Cause: "network"}},
		Loss:       deployhook.Loss{Sessions: 12, Recent: 3, Ends: time.Now().Add(20*time.Hour + 30*time.Second)},
	}}
}

func (fakeDrains) Drain(ctx context.Context, t deployhook.Target, o catalog.DrainOrder) error {
	if t.Member == "" {
		return nil
	}
	_, err := shared.Update(ctx, func(tx *catalog.Tx) error { _, err := command.DrainMember(tx, t.Member, o); return err })
	return err
}

func (fakeDrains) EndedDrains() []deployhook.EndedDrain {
	at := time.Now().Add(-3*time.Minute - 30*time.Second)
	return []deployhook.EndedDrain{
		{Object: "shop/b1b2b3b4", Site: "shop", At: at, Text: "instance exited: 3 sessions lost; nothing is left after 12s", DrainOutcome: catalog.DrainOutcome{How: "instance-exited", Lost: 3}},
		{Object: "app-3", At: at, Text: "empty after 2h0m0s", DrainOutcome: catalog.DrainOutcome{How: catalog.DrainEmpty}},
		{Object: "app-4", At: at.Add(-30 * time.Hour), Text: "empty after 1m0s", DrainOutcome: catalog.DrainOutcome{How: catalog.DrainEmpty}},
	}
}

func (fakeDrains) EndRetiring(context.Context, string, string, string) error { return nil }

type fakeDeploys struct {
	catalog *catalog.Catalog
	mu      sync.Mutex
	done    []string
}

func (f *fakeDeploys) archive(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		var e *refusal.Error
		if errors.As(err, &e) {
			w.WriteHeader(e.Status)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	actor := admin.ActorFrom(r.Context())
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"release":"r","size":%d,"notes":[%q],"id":"d1"}`, n, actor.Account)
}

func (f *fakeDeploys) Rollback(_ context.Context, site, release string, noPin bool, by string) (catalog.Deploy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf("rollback %s %.6s %v %s", site, release, noPin, by))
	return catalog.Deploy{ID: "d2", Site: site, Release: release, By: by, NoPin: noPin}, nil
}

func (f *fakeDeploys) Set(ctx context.Context, site string, patch []byte, by string) (d catalog.Deploy, begun bool, err error) {
	now := time.Now()
	_, err = f.catalog.Update(ctx, func(tx *catalog.Tx) (err error) {
		d, begun, err = command.SetOverride(tx, patch, command.DeployRequest{ID: ids.New(now), Release: catalog.Release{Site: site}, By: by, Now: now})
		return err
	})
	return d, begun, err
}

func (f *fakeDeploys) TightMemory(site, _ string) []string {
	return []string{"app-1 has 12 MiB of memory free for " + site}
}

func (f *fakeDeploys) Remove(_ context.Context, site, by string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, "remove "+site+" "+by)
	return nil
}

func (f *fakeDeploys) Events(_ context.Context, id string, send func(messages.Event) error) error {
	for i := range 3 {
		if err := send(messages.Event{Deploy: id, Message: fmt.Sprint("event ", i)}); err != nil {
			return err
		}
	}
	return nil
}

// request sends one request and returns status and body.
func (e *env) request(method, path, token, body string, header ...string) (*http.Response, string) {
	e.t.Helper()
	return e.requestBy(e.client(), method, path, token, body, header...)
}

func (e *env) client() *http.Client {
	c := *e.server.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

func (e *env) requestBy(c *http.Client, method, path, token, body string, header ...string) (*http.Response, string) {
	e.t.Helper()
	req, err := http.NewRequest(method, e.server.URL+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp, string(b)
}

// browser is a client that has logged in on the page.
type browser struct {
	*http.Client
	e    *env
	csrf string
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

func (e *env) login(account string) *browser {
	e.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.t.Fatal(err)
	}
	c := e.client()
	c.Jar = jar
	b := &browser{Client: c, e: e}
	resp, body := b.post("/login", url.Values{"account": {account}, "password": {password}})
	if resp.StatusCode != http.StatusSeeOther {
		e.t.Fatalf("login of %s: %d %s", account, resp.StatusCode, body)
	}
	_, page := b.get("/stats")
	if m := csrfField.FindStringSubmatch(page); m != nil {
		b.csrf = m[1]
	}
	return b
}

func (b *browser) get(path string) (*http.Response, string) {
	b.e.t.Helper()
	return b.e.requestBy(b.Client, "GET", path, "", "", "Accept", "text/html")
}

// post sends a form as a browser on the page does.
func (b *browser) post(path string, form url.Values, header ...string) (*http.Response, string) {
	b.e.t.Helper()
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded", "Origin", b.e.server.URL, "Sec-Fetch-Site", "same-origin", "Accept", "text/html"}, header...)
	return b.e.requestBy(b.Client, "POST", path, "", form.Encode(), header...)
}

func (e *env) api(token string) *apiclient.Client {
	e.t.Helper()
	pool := e.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c, err := apiclient.New(apiclient.Options{Addr: e.server.Listener.Addr().String(), TLS: &tls.Config{RootCAs: pool}, Token: token})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(c.Close)
	return c
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}
