package command_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

var clock = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func digest(c string) string { return strings.Repeat(c, 64) }

// try changes the catalog and returns the error.
func try(t testing.TB, c *catalog.Catalog, change func(tx *catalog.Tx) error) error {
	t.Helper()
	_, err := c.Update(t.Context(), change)
	return err
}

func sign(csr []byte, m catalog.Member) ([]byte, error) {
	if len(csr) == 0 {
		return nil, errors.New("no request")
	}
	return []byte("certificate of " + m.Name), nil
}

func knock(name, key string) catalog.Member {
	return catalog.Member{Name: name, ID: "id", Role: catalog.RoleServer, Admission: catalog.Pending, Fingerprint: digest(key), Addr: "192.0.2.1:7444", Version: "0.1.0", CSR: []byte("csr")}
}

func TestMemberLife(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error { return tx.PutMember(knock("web-1", "a")) })
	// Another key with the name is shown, once a minute at most.
	rival := func(key string, now time.Time) {
		update(t, c, func(tx *catalog.Tx) error { return command.NoteRival(tx, "web-1", digest(key), now) })
	}
	rival("b", clock.Add(time.Hour))
	rival("c", clock.Add(time.Hour+time.Second))
	rival("a", clock.Add(2*time.Hour)) // its own
	if got := c.View().Members["web-1"].Rival; got != digest("b") {
		t.Errorf("rival %q", got)
	}
	update(t, c, func(tx *catalog.Tx) error { return command.NoteRival(tx, "nobody", digest("b"), clock) })
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.AcceptMember(tx, "web-1", "ann", clock, sign)
		return err
	})
	m := c.View().Members["web-1"]
	if m.Admission != catalog.Accepted || string(m.Certificate) != "certificate of web-1" || m.CSR != nil || m.By != "ann" || m.Fingerprint != digest("a") {
		t.Errorf("%+v", m)
	}
	in := catalog.Instance{ID: ids.NewInstance(), Site: "shop", Release: digest("1"), Member: "web-1", State: catalog.InstanceHealthy}
	update(t, c, func(tx *catalog.Tx) error { return tx.PutInstance(in) })
	for name, wrong := range map[string]func(tx *catalog.Tx) error{
		"accept twice": func(tx *catalog.Tx) error {
			_, err := command.AcceptMember(tx, "web-1", "ann", clock, sign)
			return err
		},
		"refuse accepted": func(tx *catalog.Tx) error { _, err := command.RefuseMember(tx, "web-1", "", "ann", clock); return err },
		"remove accepted": func(tx *catalog.Tx) error { return command.RemoveMember(tx, "web-1") },
	} {
		if err := try(t, c, wrong); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.SetMemberAdmin(tx, "web-1", catalog.AdminDrain)
		return err
	})
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.RevokeMember(tx, "web-1", "stolen", "ann", clock)
		return err
	})
	v := c.View()
	if m := v.Members["web-1"]; m.Admission != catalog.Revoked || m.Certificate != nil || m.Reason != "stolen" || len(v.Instances) != 0 {
		t.Errorf("%+v, %d instances", m, len(v.Instances))
	}
	if err := try(t, c, func(tx *catalog.Tx) error { return command.ApplyReport(tx, "web-1", messages.Report{}) }); !errors.Is(err, catalog.ErrConflict) {
		t.Error("a revoked member reported:", err)
	}
}

func TestInviteOpensOnce(t *testing.T) {
	c := open(t, t.TempDir())
	i, code, err := command.NewInvite(catalog.RoleServer, time.Hour, "ann", clock)
	if err != nil {
		t.Fatal(err)
	}
	update(t, c, func(tx *catalog.Tx) error { return command.CreateInvite(tx, i, clock) })
	redeem := func(code string, role catalog.Role, now time.Time) error {
		return try(t, c, func(tx *catalog.Tx) error {
			_, err := command.RedeemInvite(tx, code, "web-1", role, now)
			return err
		})
	}
	for _, bad := range []string{"", ".", i.ID, i.ID + ".", code + "x", code[:len(code)-1], "x" + code, strings.Repeat("0", 26) + code[26:]} {
		if err := redeem(bad, catalog.RoleServer, clock); !errors.Is(err, command.ErrInvite) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := redeem(code, catalog.RoleServer, clock.Add(time.Hour)); !errors.Is(err, command.ErrInvite) {
		t.Error("expired:", err)
	}
	if err := redeem(code, catalog.RoleProxy, clock); !errors.Is(err, command.ErrInvite) {
		t.Error("another role:", err)
	}
	if err := redeem(code, catalog.RoleServer, clock); err != nil {
		t.Error(err)
	}
	if err := redeem(code, catalog.RoleServer, clock); !errors.Is(err, command.ErrInvite) {
		t.Error("used twice:", err)
	}
	if got := c.View().Invites[i.ID]; got.UsedBy != "web-1" {
		t.Errorf("%+v", got)
	}
	for _, ttl := range []time.Duration{0, -1, 8 * 24 * time.Hour} {
		if _, _, err := command.NewInvite(catalog.RoleServer, ttl, "ann", clock); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}

// deployTo walks one deploy of a site to its good end.
func deployTo(t *testing.T, c *catalog.Catalog, site, release string, now time.Time, settings sites.Settings) catalog.Deploy {
	t.Helper()
	id := ids.New(now)
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.BeginDeploy(tx, command.DeployRequest{ID: id, Now: now, Release: catalog.Release{Site: site, Digest: release, Manifest: settings, Created: now}})
		return err
	})
	var d catalog.Deploy
	update(t, c, func(tx *catalog.Tx) (err error) {
		d, err = command.PromoteDeploy(tx, id, now.Add(time.Second))
		return err
	})
	return d
}

func TestDeployLife(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error {
		return errors.Join(tx.PutMember(catalog.Member{Name: "web-1", Role: catalog.RoleServer, Admission: catalog.Accepted}),
			tx.PutMember(catalog.Member{Name: "web-2", Role: catalog.RoleServer, Admission: catalog.Pending}))
	})
	hosts := sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}}, Deploy: sites.Deploy{Keep: 1}}
	first := deployTo(t, c, "shop", digest("1"), clock, hosts)
	if len(first.Members) != 1 || first.Members["web-1"].Step != catalog.StepWaiting || first.State != catalog.DeploySucceeded {
		t.Errorf("%+v", first)
	}
	if s := c.View().Sites["shop"]; s.Release != digest("1") || s.Candidate != "" || len(s.Retiring) != 0 || s.Manifest.Hosts[0] != "shop.example.com" {
		t.Errorf("%+v", s)
	}

	// A second one fails: nothing of the first was touched, and meanwhile a third is told.
	begin := func(id, site, release string, s sites.Settings) error {
		return try(t, c, func(tx *catalog.Tx) error {
			_, err := command.BeginDeploy(tx, command.DeployRequest{ID: id, Now: clock, Release: catalog.Release{Site: site, Digest: release, Manifest: s, Created: clock.Add(time.Minute)}})
			return err
		})
	}
	second := ids.New(clock.Add(time.Minute))
	if err := begin(second, "shop", digest("2"), hosts); err != nil {
		t.Fatal(err)
	}
	if err := begin(ids.New(clock), "shop", digest("3"), hosts); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), second) {
		t.Error(err)
	}
	if err := begin(ids.New(clock), "other", digest("3"), hosts); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), `"shop"`) {
		t.Error("a host was taken twice:", err)
	}
	if err := begin(ids.New(clock), "other", digest("3"), sites.Settings{Front: sites.Front{Path: "x", Policy: "y"}}); !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Error("not all mistakes are named:", err)
	}
	if c.View().Sites["other"] != nil {
		t.Error("a refused deploy left its site")
	}
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.FailDeploy(tx, second, "web-1: it exited", "look at its log", clock)
		return err
	})
	v := c.View()
	if s, d := v.Sites["shop"], v.Deploy(second); s.Release != digest("1") || s.Candidate != "" || s.Deploy != "" || d.State != catalog.DeployFailed || d.Error == "" || d.Previous != digest("1") {
		t.Errorf("%+v\n%+v", s, d)
	}
	if err := try(t, c, func(tx *catalog.Tx) error { _, err := command.PromoteDeploy(tx, second, clock); return err }); !errors.Is(err, catalog.ErrConflict) {
		t.Error("a failed deploy was promoted:", err)
	}

	// A third replaces the first, which retires until its last session has gone.
	deployTo(t, c, "shop", digest("3"), clock.Add(time.Hour), hosts)
	s := c.View().Sites["shop"]
	if s.Release != digest("3") || len(s.Retiring) != 1 || s.Retiring[0].Release != digest("1") || !s.Retiring[0].Deadline.Equal(clock.Add(9*time.Hour+time.Second)) {
		t.Errorf("%+v", s)
	}
	if r, err := command.RollbackTarget(c.View(), "shop", ""); err != nil || r.Digest != digest("1") {
		t.Error(r.Digest, err)
	}

	// A rollback to a release that still retires makes it current again.
	back := ids.New(clock.Add(2 * time.Hour))
	update(t, c, func(tx *catalog.Tx) error {
		d, err := command.Rollback(tx, command.DeployRequest{ID: back, Now: clock, Release: catalog.Release{Site: "shop", Digest: "111"}})
		if err == nil && (!d.Rollback || d.Release != digest("1")) {
			t.Errorf("%+v", d)
		}
		return err
	})
	update(t, c, func(tx *catalog.Tx) error { _, err := command.PromoteDeploy(tx, back, clock); return err })
	s = c.View().Sites["shop"]
	if s.Release != digest("1") || len(s.Retiring) != 1 || s.Retiring[0].Release != digest("3") {
		t.Errorf("%+v", s)
	}
	update(t, c, func(tx *catalog.Tx) error {
		_, ended, err := command.DropRetired(tx, "shop", func(_ catalog.Site, r catalog.Retiring) bool { return r.Release == digest("3") }, clock)
		if ended != 1 {
			t.Errorf("%d retirements ended", ended)
		}
		return err
	})
	if s := c.View().Sites["shop"]; len(s.Retiring) != 0 {
		t.Errorf("%+v", s)
	}
	// Keep = 1: of the former releases 2 and 3 the newer stays.
	if r := c.View().Releases["shop"]; len(r) != 2 || r[digest("1")] == nil || r[digest("3")] == nil {
		t.Errorf("releases left: %v", len(r))
	}
	update(t, c, func(tx *catalog.Tx) error { return command.RemoveSite(tx, "shop", clock) })
	if v := c.View(); len(v.Sites) != 0 || len(v.Releases) != 0 {
		t.Error(v.Sites, v.Releases)
	}
}

func TestRemoveSiteEndsItsDeploy(t *testing.T) {
	c := open(t, t.TempDir())
	id := ids.New(clock)
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.BeginDeploy(tx, command.DeployRequest{ID: id, Now: clock, Release: catalog.Release{Site: "shop", Digest: digest("1")}})
		return err
	})
	update(t, c, func(tx *catalog.Tx) error { return command.RemoveSite(tx, "shop", clock) })
	if d := c.View().Deploy(id); d.State != catalog.DeployFailed || d.Error == "" {
		t.Errorf("%+v", d)
	}
}

func TestDeploysAreTrimmed(t *testing.T) {
	c := open(t, t.TempDir())
	for i := range 104 {
		deployTo(t, c, "shop", digest(fmt.Sprint(i%2)), clock.Add(time.Duration(i)*time.Minute), sites.Settings{})
	}
	v := c.View()
	if len(v.Deploys) > 101 {
		t.Errorf("%d deploys are kept", len(v.Deploys))
	}
	for i := 1; i < len(v.Deploys); i++ {
		if v.Deploys[i-1].ID < v.Deploys[i].ID {
			t.Fatal("deploys are not sorted newest first")
		}
	}
}

func TestProgressFitsARecord(t *testing.T) {
	c := open(t, t.TempDir())
	id := ids.New(clock)
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.BeginDeploy(tx, command.DeployRequest{ID: id, Now: clock, Release: catalog.Release{Site: "shop", Digest: digest("1")}})
		return err
	})
	members := map[string]catalog.MemberProgress{}
	for i := range 120 {
		members[fmt.Sprintf("web-%d", i)] = catalog.MemberProgress{
			Step: catalog.StepFailed, Detail: strings.Repeat("\u00e9", 5000), Log: slicesRepeat(strings.Repeat("<", 2000), 500),
			Probe: &catalog.Probe{Body: strings.Repeat("b", 9999), Error: strings.Repeat("e", 9999)},
		}
	}
	update(t, c, func(tx *catalog.Tx) error { _, err := command.SetProgress(tx, id, members); return err })
	one := map[string]catalog.MemberProgress{"web-1": {Log: []string{"first", "last"}, Detail: "short"}}
	update(t, c, func(tx *catalog.Tx) error { _, err := command.SetProgress(tx, id, one); return err })
	if p := c.View().Deploy(id).Members["web-1"]; len(p.Log) != 2 || p.Log[1] != "last" || p.Detail != "short" {
		t.Errorf("%+v", p)
	}
}

func slicesRepeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func TestReportsWriteOnlyChanges(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error {
		return errors.Join(tx.PutMember(catalog.Member{Name: "web-1", Role: catalog.RoleServer, Admission: catalog.Accepted}),
			tx.PutMember(catalog.Member{Name: "web-2", Role: catalog.RoleServer, Admission: catalog.Accepted}))
	})
	in := catalog.Instance{ID: ids.NewInstance(), Site: "shop", Release: digest("1"), State: catalog.InstanceStarting, Started: clock}
	report := func(member string, list ...catalog.Instance) error {
		r := messages.Report{Version: "0.1.0", Runtimes: map[string]string{"php": "8.2"}}
		for _, i := range list {
			r.Instances = append(r.Instances, messages.InstanceReport{Instance: i, Progress: catalog.MemberProgress{Done: time.Now().UnixNano()}})
		}
		return try(t, c, func(tx *catalog.Tx) error { return command.ApplyReport(tx, member, r) })
	}
	if err := report("web-1", in, catalog.Instance{Site: "shop"}); err != nil {
		t.Fatal(err)
	}
	if got := c.View().Instances[in.ID]; got == nil || got.Member != "web-1" {
		t.Fatal(got)
	}
	rev := c.View().Revision
	if err := report("web-1", in); err != nil || c.View().Revision != rev {
		t.Error("the same report wrote again:", err)
	}
	in.State = catalog.InstanceHealthy
	if err := report("web-1", in); err != nil || c.View().Instances[in.ID].State != catalog.InstanceHealthy {
		t.Error(err)
	}
	// Nobody speaks for another's instances.
	if err := report("web-2", in); !errors.Is(err, catalog.ErrConflict) {
		t.Error(err)
	}
	bad := in
	bad.ID = "../" + in.ID[3:]
	if err := report("web-1", bad); !errors.Is(err, catalog.ErrInvalid) {
		t.Error(err)
	}
	if err := report("web-2"); err != nil || c.View().Instances[in.ID] == nil {
		t.Error("an empty report took another's instance:", err)
	}
	if err := report("web-1"); err != nil || len(c.View().Instances) != 0 {
		t.Error("the instance that is not named is still there:", err)
	}
}

func TestAccountsAndTokens(t *testing.T) {
	c := open(t, t.TempDir())
	create := func(name string, role catalog.AccountRole) error {
		return try(t, c, func(tx *catalog.Tx) error {
			return command.CreateAccount(tx, catalog.Account{Name: name, Role: role}, clock)
		})
	}
	if err := errors.Join(create("ann", catalog.RoleAdmin), create("bob", catalog.RoleDeployer)); err != nil {
		t.Fatal(err)
	}
	if err := create("ann", catalog.RoleViewer); !errors.Is(err, catalog.ErrExists) {
		t.Error(err)
	}
	if err := create("eve", "king"); !errors.Is(err, catalog.ErrInvalid) {
		t.Error(err)
	}
	tok, plain := command.NewToken("bob", "laptop", time.Hour, clock)
	update(t, c, func(tx *catalog.Tx) error { return command.CreateToken(tx, tok, clock) })
	if a, got, err := command.VerifyToken(c.View(), plain, clock); err != nil || a.Name != "bob" || got.ID != tok.ID {
		t.Error(a, err)
	}
	for _, bad := range []string{"", ".", tok.ID, tok.ID + ".", plain + "x", "x" + plain, plain[:len(plain)-1], tok.ID + "." + strings.Repeat("a", 52)} {
		if _, _, err := command.VerifyToken(c.View(), bad, clock); !errors.Is(err, command.ErrToken) {
			t.Errorf("%q opened", bad)
		}
	}
	if _, _, err := command.VerifyToken(c.View(), plain, clock.Add(time.Hour)); !errors.Is(err, command.ErrToken) {
		t.Error("an expired token opened")
	}
	for name, change := range map[string]func(a *catalog.Account) error{
		"disabled": func(a *catalog.Account) error { a.Disabled = true; return nil },
		"demoted":  func(a *catalog.Account) error { a.Role = catalog.RoleViewer; return nil },
	} {
		if err := try(t, c, func(tx *catalog.Tx) error { _, err := command.ChangeAccount(tx, "ann", change); return err }); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("the last administrator was %s: %v", name, err)
		}
	}
	if err := try(t, c, func(tx *catalog.Tx) error { return command.RemoveAccount(tx, "ann") }); !errors.Is(err, catalog.ErrConflict) {
		t.Error(err)
	}
	update(t, c, func(tx *catalog.Tx) error {
		_, err := command.ChangeAccount(tx, "bob", func(a *catalog.Account) error { a.Password = "new"; return nil })
		return err
	})
	if _, _, err := command.VerifyToken(c.View(), plain, clock); !errors.Is(err, command.ErrToken) {
		t.Error("a token outlived the change of the password")
	}
	update(t, c, func(tx *catalog.Tx) error { return command.RemoveAccount(tx, "bob") })
	if len(c.View().Tokens) != 0 || c.View().Accounts["bob"] != nil {
		t.Error("something of bob is left")
	}
}

func TestGossipKeys(t *testing.T) {
	c := open(t, t.TempDir())
	gossip := func(b byte) error {
		return try(t, c, func(tx *catalog.Tx) error { return command.RotateGossipKey(tx, fill(b)) })
	}
	if err := errors.Join(gossip(1), gossip(2), gossip(3)); err != nil {
		t.Fatal(err)
	}
	if err := gossip(3); !errors.Is(err, catalog.ErrConflict) {
		t.Error(err)
	}
	if k, err := command.GossipKeys(c); err != nil || len(k) != 2 || k[0][0] != 3 || k[1][0] != 2 {
		t.Error(k, err)
	}
	update(t, c, command.DropGossipKeys)
	if k, err := command.GossipKeys(c); err != nil || len(k) != 1 || k[0][0] != 3 {
		t.Error(k, err)
	}
}

func fill(b byte) []byte {
	out := make([]byte, 32)
	for i := range out {
		out[i] = b
	}
	return out
}
