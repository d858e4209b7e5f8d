package admin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"portico/deployhook/logs"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/proxy/admin"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

func TestClient(t *testing.T) {
	e := start(t, nil)
	ctx := context.Background()
	c := e.api(e.tokens["admin"])
	stats, err := c.Stats(ctx)
	if err != nil || stats.Proxy != "proxy-1" || len(stats.Pools) != 2 || stats.Pools[0].Name != "blog" || len(stats.Members) != 4 || stats.Members[0].Name != "newbie" {
		t.Fatalf("stats: %+v %v", stats, err)
	}
	if u := stats.Pools[1].Upstreams[0]; u.Status != "UP" || u.Sessions != 40 || u.Total != 1000 || u.Rate != 12.5 || u.Status2xx != 1000 {
		t.Errorf("upstream: %+v", u)
	}
	sessions, err := c.Sessions(ctx, "shop")
	if err != nil || len(sessions) != 2 || sessions[0].Sessions != 40 || sessions[0].Recent != 7 {
		t.Errorf("sessions: %+v %v", sessions, err)
	}
	site, err := c.SetSite(ctx, "shop", json.RawMessage(`{"policy":"round-robin","health":{"path":"/up"}}`))
	if err != nil || site.Settings.Policy != "round-robin" || site.Settings.Health.Path != "/up" || site.Sessions != 80 {
		t.Errorf("set: %+v %v", site, err)
	}
	var answer *refusal.Error
	if _, err := c.SetSite(ctx, "shop", json.RawMessage(`{"policy":"wheel-of-fortune"}`)); !errors.As(err, &answer) || answer.Status != 400 {
		t.Errorf("a wrong policy: %v", err)
	}
	if _, err := c.SetSite(ctx, "shop", json.RawMessage(`{"policy":null,"health":null}`)); err != nil {
		t.Error(err)
	}
	f, err := c.ForecastAct(ctx, "app-1", api.VerbMaint)
	if err != nil || f.Sessions != 80 || f.Recent != 14 || f.InFlight != 6 || len(f.Instances) != 2 || f.Left != 2 {
		t.Errorf("forecast: %+v %v", f, err)
	}
	if f, err = c.ForecastAct(ctx, "app-1", api.VerbDrain); err != nil || f.Sessions != 0 || !strings.Contains(f.Message, "80 sessions") {
		t.Errorf("forecast of a drain: %+v %v", f, err)
	}
	if f, err = c.ForecastRemove(ctx, "shop"); err != nil || f.Sessions != 80 {
		t.Errorf("forecast of a removal: %+v %v", f, err)
	}
	stateless := &e.snap.Pools[0].Upstreams[0]
	stateless.Unpinned = true // its 40 sessions can go on anywhere
	if f, err = c.ForecastAct(ctx, "app-1", api.VerbMaint); err != nil || f.Sessions != 40 || f.Recent != 7 || f.Visits != 40 ||
		!strings.HasSuffix(f.Message, "(the 40 visits of static sites there go on elsewhere)") || len(f.Instances) != 2 {
		t.Errorf("forecast where one instance keeps no state: %+v %v", f, err)
	}
	stateless.Unpinned = false
	if shared.View().Members["app-1"].Admin != catalog.AdminReady || len(e.adm.all()) != 0 {
		t.Error("a forecast changed something")
	}
	m, err := c.Act(ctx, "app-1", api.VerbMaint, "")
	if err != nil || m.Admin != catalog.AdminMaint || shared.View().Members["app-1"].Admin != catalog.AdminMaint {
		t.Errorf("maint: %+v %v", m, err)
	}
	if _, err := c.Act(ctx, "proxy-1", api.VerbDrain, ""); !errors.As(err, &answer) || answer.Status != 409 {
		t.Errorf("drain of a proxy: %v", err)
	}
	var csv bytes.Buffer
	if err := c.StatsCSV(ctx, &csv); err != nil || !strings.HasPrefix(csv.String(), "# pxname") {
		t.Errorf("csv: %.40q %v", csv.String(), err)
	}
	export, err := c.ExportHAProxyBundle(ctx, api.ExportRequest{Dir: "/etc/hp"}, api.ExportBundleRequest{Name: "haproxy", CSR: []byte("csr")})
	if err != nil || export.Files["client.pem"] != "CERTIFICATE" || !strings.Contains(export.Files["haproxy.cfg"], "backend shop") {
		t.Errorf("export: %v %v", export.Files, err)
	}
	if export, err = c.ExportHAProxy(ctx, api.ExportRequest{}); err != nil || len(export.Files) != 1 {
		t.Errorf("export: %v", err)
	}
	if _, err := c.Rollback(ctx, "shop", "aaaaaa", false); err != nil {
		t.Error(err)
	}
	if _, err := c.Rollback(ctx, "shop", "cccccc", false); !errors.As(err, &answer) || answer.Status != 404 || answer.Hint == "" {
		t.Errorf("an unknown release: %v", err)
	}
	if err := c.RemoveSite(ctx, "blog"); err != nil || e.dep.done[len(e.dep.done)-1] != "remove blog admin" {
		t.Errorf("remove: %v %v", e.dep.done, err)
	}
	var b bytes.Buffer
	if err := c.Logs(ctx, logs.Query{Site: "shop", Lines: 7}, &b); err != nil || b.String() != "shop 7\n" {
		t.Errorf("logs: %q %v", b.String(), err)
	}
	b.Reset()
	if err := c.Backup(ctx, &b); err != nil || b.String() != "backup" {
		t.Errorf("backup: %q %v", b.String(), err)
	}
	invite, err := c.Invite(ctx, "", 0)
	if err != nil || invite.Code != "code" || invite.Role != catalog.RoleServer {
		t.Errorf("invite: %+v %v", invite, err)
	}
}

func TestClientScope(t *testing.T) {
	e := start(t, nil)
	c := e.api(e.tokens["scoped"])
	sites, err := c.Sites(context.Background())
	if err != nil || len(sites) != 1 || sites[0].Name != "shop" {
		t.Errorf("sites: %+v %v", sites, err)
	}
	stats, err := c.Stats(context.Background())
	if err != nil || len(stats.Pools) != 1 || len(stats.Members) != 0 || len(stats.Frontends) != 0 {
		t.Errorf("stats: %+v %v", stats, err)
	}
	deploys, err := c.Deploys(context.Background(), "")
	if err != nil || len(deploys) != 1 {
		t.Errorf("deploys: %+v %v", deploys, err)
	}
	var csv bytes.Buffer
	if err := c.StatsCSV(context.Background(), &csv); err != nil || strings.Contains(csv.String(), "blog") {
		t.Errorf("csv: %q %v", csv.String(), err)
	}
}

func TestClientAccounts(t *testing.T) {
	e := start(t, nil)
	ctx := context.Background()
	c := e.api(e.tokens["admin"])
	scope := []string{"shop"}
	a, err := c.PutAccount(ctx, api.AccountRequest{Name: "ci", Role: catalog.RoleDeployer, Sites: &scope})
	if err != nil || a.Login || len(a.Sites) != 1 {
		t.Fatalf("%+v %v", a, err)
	}
	token, err := c.NewToken(ctx, api.TokenRequest{Account: "ci", Label: "pipeline", TTL: "90d"})
	if err != nil || token.Expires.IsZero() {
		t.Fatalf("%+v %v", token, err)
	}
	ci := e.api(token.Token)
	if who, err := ci.Whoami(ctx); err != nil || who.Account != "ci" || who.Role != catalog.RoleDeployer {
		t.Errorf("%+v %v", who, err)
	}
	if _, err := ci.NewToken(ctx, api.TokenRequest{Account: "admin"}); api.ExitCode(err) != 3 {
		t.Errorf("a token for an administrator: %v", err)
	}
	if list, err := ci.Tokens(ctx); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	wide := catalog.RoleOperator
	if _, err := c.PutAccount(ctx, api.AccountRequest{Name: "ci", Role: wide}); err == nil {
		t.Error("an operator with a scope")
	}
	if _, err := c.PutAccount(ctx, api.AccountRequest{Name: "ci", Password: "short"}); err == nil {
		t.Error("a short password")
	}
	if _, err := c.DeleteToken(ctx, token.ID); err != nil {
		t.Error(err)
	}
	if _, err := ci.Whoami(ctx); api.ExitCode(err) != 3 {
		t.Errorf("a deleted token: %v", err)
	}
	if err := c.DeleteAccount(ctx, "ci"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteAccount(ctx, "admin"); err == nil {
		t.Error("the last administrator is gone")
	}
}

func TestClientUpload(t *testing.T) {
	e := start(t, nil)
	body := strings.Repeat("archive ", 1<<16)
	var last, total int64
	opened := 0
	up := apiclient.Upload{Site: "shop", Name: "shop.zip", Size: int64(len(body)), Hosts: []string{"a.example", "b.example"},
		Open:     func() (io.ReadCloser, error) { opened++; return io.NopCloser(strings.NewReader(body)), nil },
		Progress: func(sent, of int64) { last, total = sent, of },
	}
	answer, err := e.api(e.tokens["scoped"]).Upload(context.Background(), up)
	if err != nil || answer.Size != int64(len(body)) || answer.Notes[0] != "scoped" || answer.ID != "d1" {
		t.Fatalf("%+v %v", answer, err)
	}
	if last != up.Size || total != up.Size || opened != 1 {
		t.Errorf("progress %d of %d, opened %d times", last, total, opened)
	}
	up.Site = "blog"
	if _, err := e.api(e.tokens["scoped"]).Upload(context.Background(), up); api.ExitCode(err) != 3 {
		t.Errorf("another site: %v", err)
	}
	for _, name := range []string{"..", "-rf", "con", strings.Repeat("a", 300), "shöp", "a b"} { // D12
		up.Site = name
		var refused *refusal.Error
		if _, err := e.api(e.tokens["admin"]).Upload(context.Background(), up); !errors.As(err, &refused) || refused.Status != 400 && refused.Status != 404 {
			t.Errorf("site %q: %v", name, err)
		}
	}
}

// TestClientUploadAgain: a connection that breaks before the answer costs
// another try, an archive that cannot be read does not.
func TestClientUploadAgain(t *testing.T) {
	breaks := 1
	e := start(t, func(o *admin.Options) {
		inner := o.Archive
		o.Archive = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if breaks > 0 {
				breaks--
				panic(http.ErrAbortHandler)
			}
			inner.ServeHTTP(w, r)
		})
	})
	opened := 0
	up := apiclient.Upload{Site: "shop", Size: 5, Open: func() (io.ReadCloser, error) { opened++; return io.NopCloser(strings.NewReader("hello")), nil }}
	if answer, err := e.api(e.tokens["admin"]).Upload(context.Background(), up); err != nil || answer.Size != 5 || opened != 2 {
		t.Errorf("%+v %v, opened %d times", answer, err, opened)
	}
	opened = 0
	up.Open = func() (io.ReadCloser, error) { opened++; return nil, errors.New("no such file") }
	if _, err := e.api(e.tokens["admin"]).Upload(context.Background(), up); err == nil || opened != 1 {
		t.Errorf("%v, opened %d times", err, opened)
	}
}

func TestClientEvents(t *testing.T) {
	breaks := 0
	e := start(t, func(o *admin.Options) { o.Deploys = brokenEvents{o.Deploys, &breaks} })
	var got []string
	err := e.api(e.tokens["scoped"]).DeployEvents(context.Background(), "deploy-shop", func(ev messages.Event) error {
		got = append(got, ev.Message)
		return nil
	})
	if err != nil || strings.Join(got, ",") != "event 0,event 1,event 2" || breaks != 1 {
		t.Errorf("%v %v after %d breaks", got, err, breaks)
	}
	stop := errors.New("enough")
	if err := e.api(e.tokens["scoped"]).DeployEvents(context.Background(), "deploy-shop", func(messages.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	if err := e.api(e.tokens["scoped"]).DeployEvents(context.Background(), "nothing", nil); err == nil {
		t.Error("an unknown deploy")
	}
}

// brokenEvents breaks the first stream off after two events.
type brokenEvents struct {
	admin.Deploys
	breaks *int
}

func (b brokenEvents) Events(ctx context.Context, id string, send func(messages.Event) error) error {
	n := 0
	return b.Deploys.Events(ctx, id, func(e messages.Event) error {
		if n++; n == 3 && *b.breaks == 0 {
			*b.breaks++
			return errors.New("broke off")
		}
		return send(e)
	})
}

func TestClientErrors(t *testing.T) {
	if _, err := apiclient.New(apiclient.Options{Addr: "http://127.0.0.1:1"}); err == nil {
		t.Error("plain http")
	}
	e := start(t, nil)
	c, err := apiclient.New(apiclient.Options{Addr: e.server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var answer *refusal.Error
	if _, err := c.Whoami(context.Background()); !errors.As(err, &answer) || answer.Code != "untrusted" || answer.Hint == "" {
		t.Errorf("an untrusted certificate: %v", err)
	}
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, context.DeadlineExceeded: 4,
		&refusal.Error{Status: 401}: 3, fmt.Errorf("deploy: %w", &refusal.Error{Status: 403}): 3, &refusal.Error{Status: 404}: 1, &refusal.Error{Status: 504}: 4,
	} {
		if got := api.ExitCode(err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

// TestClientUploadRefusedMidway: what the proxy answers in the middle of an upload is what the command prints,
// not what became of the archive that nobody reads any more.
func TestClientUploadRefusedMidway(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInsufficientStorage)
		_, _ = io.WriteString(w, `{"error":{"code":"disk_full","message":"the proxy's disk is full"}}`)
	}))
	server.EnableHTTP2 = true // as the admin listener has it
	server.StartTLS()
	defer server.Close()
	c, err := apiclient.New(apiclient.Options{Addr: server.URL, TLS: &tls.Config{InsecureSkipVerify: true}, Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	up := apiclient.Upload{Site: "shop", Name: "shop.tar", Size: -1, Open: func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { // the packing of a folder is often slower than the network
			for range 20 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		return r, nil
	}}
	_, err = c.Upload(context.Background(), up)
	var refused *refusal.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusInsufficientStorage || refused.Code != "disk_full" {
		t.Errorf("the command says: %v", err)
	}
}
