package membership_test

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
	"slices"
	"strings"
	"testing"
	"time"

	"portico/certs"
	"portico/conf/sites"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

func TestJoinAndAccept(t *testing.T) {
	f := newFront(t)
	m := f.machine("web-1", 9001)
	said, end := m.join(t.Context(), "")
	p := await(t, said, membership.Waiting)
	if p.Fingerprint != m.identity.Fingerprint() {
		t.Errorf("the machine shows key %s, it has %s", p.Fingerprint, m.identity.Fingerprint())
	}
	rec := f.catalog.View().Members["web-1"]
	if rec == nil || rec.Admission != catalog.Pending || rec.Fingerprint != m.identity.Fingerprint() || rec.Addr != "127.0.0.1:9001" || rec.Certificate != nil {
		t.Fatalf("record %+v", rec)
	}
	if keys, _ := m.identity.GossipKeys(); keys != nil || !m.identity.NotAfter().IsZero() {
		t.Error("a pending machine got something")
	}
	began := time.Now()
	if err := f.admission.Accept(t.Context(), "web-1", "", "anna"); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, end); err != nil {
		t.Fatal(err)
	}
	// The knock is held at the proxy for up to 20 s and answered by the acceptance itself.
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("acceptance took %v to arrive: it came with another knock", d)
	}
	if peer, ok := m.identity.Peer(); !ok || peer.Name != "web-1" || peer.Role != catalog.RoleServer {
		t.Errorf("certificate for %+v", peer)
	}
	want, err := f.admission.GossipKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := m.identity.GossipKeys(); err != nil || len(keys) != 1 || !bytes.Equal(keys[0], want[0]) {
		t.Errorf("keys %v, %v", keys, err)
	}
	if rec := f.catalog.View().Members["web-1"]; rec.By != "anna" || rec.Admission != catalog.Accepted || rec.Admin != catalog.AdminReady {
		t.Errorf("record %+v", rec)
	}
	// Once more, as after a restart: in at once.
	a, err := membership.Join(t.Context(), m.options("", nil))
	if err != nil || a.Cluster != f.catalog.View().ClusterID || !slices.Equal(a.Seeds, []string{"127.0.0.1:7946"}) {
		t.Errorf("%+v, %v", a, err)
	}
	if err := f.admission.Accept(t.Context(), "web-1", "", "berta"); err != nil {
		t.Errorf("accepting twice: %v", err)
	}
}

// Without a proxy, an accepted machine is a member all the same.
func TestJoinOffline(t *testing.T) {
	f := newFront(t)
	m := f.member("web-1", 9001)
	said := make(chan membership.Progress, 10)
	o := m.options("", func(p membership.Progress) { said <- p })
	o.Servers = []string{"127.0.0.1:1"}
	if _, err := membership.Join(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	await(t, said, membership.Offline)
}

func TestInvite(t *testing.T) {
	f := newFront(t)
	i, err := f.admission.Invite(t.Context(), catalog.RoleServer, time.Hour, "anna")
	if err != nil {
		t.Fatal(err)
	}
	m := f.machine("web-1", 9001)
	said, end := m.join(t.Context(), i.Code)
	if err := ended(t, end); err != nil {
		t.Fatal(err)
	}
	await(t, said, membership.Welcome)
	rec := f.catalog.View().Members["web-1"]
	if rec.Admission != catalog.Accepted || !strings.Contains(rec.By, "anna") {
		t.Errorf("record %+v", rec)
	}
	if used := f.catalog.View().Invites[i.ID]; used.UsedBy != "web-1" {
		t.Errorf("invite %+v", used)
	}
	var refusal *membership.Refusal
	_, end = f.machine("web-2", 9011).join(t.Context(), i.Code)
	if err := ended(t, end); !errors.As(err, &refusal) || refusal.Code != membership.CodeInvite || !strings.Contains(refusal.Message, "used") {
		t.Errorf("second use: %v", err)
	}
	if f.catalog.View().Members["web-2"] != nil {
		t.Error("a machine with a used code is on the list")
	}
	for _, bad := range []struct {
		role catalog.Role
		ttl  time.Duration
	}{{"king", time.Hour}, {catalog.RoleServer, 0}, {catalog.RoleServer, 365 * 24 * time.Hour}} {
		if _, err := f.admission.Invite(t.Context(), bad.role, bad.ttl, "anna"); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Labels place sites, so operators give them and nobody takes them: neither by what a machine says
// of itself, nor by calling itself as a label.
func TestLabelsAreGivenByOperators(t *testing.T) {
	f := newFront(t)
	if _, err := f.catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		digest := strings.Repeat("a", 64)
		settings := sites.Settings{Servers: []string{"zone-a"}}
		return errors.Join(tx.PutSite(catalog.Site{Name: "shop", Release: digest, Manifest: settings}),
			tx.PutRelease(catalog.Release{Site: "shop", Digest: digest, Manifest: settings}))
	}); err != nil {
		t.Fatal(err)
	}
	invite := func(labels ...string) string {
		t.Helper()
		i, err := f.admission.Invite(t.Context(), catalog.RoleServer, time.Hour, "anna", labels...)
		if err != nil {
			t.Fatal(err)
		}
		return i.Code
	}
	var refusal *membership.Refusal
	code := invite()
	_, end := f.machine("zone-a", 9001).join(t.Context(), code)
	if err := ended(t, end); !errors.As(err, &refusal) || refusal.Code != membership.CodeNameTaken || !strings.Contains(refusal.Message, `"shop"`) {
		t.Errorf("a machine that calls itself as a site's servers: %v", err)
	}
	_, end = f.machine("web-1", 9011).join(t.Context(), code) // which the refusal has not used up
	if err := ended(t, end); err != nil {
		t.Fatal(err)
	}
	_, end = f.machine("web-2", 9021).join(t.Context(), invite("zone-a", "fast"))
	if err := ended(t, end); err != nil {
		t.Fatal(err)
	}
	members := f.catalog.View().Members
	if got := members["web-1"].Labels; len(got) != 0 {
		t.Errorf("web-1 has labels %v", got)
	}
	if got := members["web-2"].Labels; !slices.Equal(got, []string{"fast", "zone-a"}) {
		t.Errorf("web-2 has labels %v", got)
	}
	// Nor by waiting for an operator who does not look closely.
	said, end := f.machine("fast", 9031).join(t.Context(), "")
	await(t, said, membership.Waiting)
	if err := f.admission.Accept(t.Context(), "fast", "", "anna"); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "web-2") {
		t.Errorf("a machine with a label for a name was accepted: %v", err)
	}
	if _, err := f.catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		_, err := command.LabelMember(tx, "web-1", []string{"web-2"})
		return err
	}); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("a label that is another's name: %v", err)
	}
	if err := f.admission.Refuse(t.Context(), "fast", "", "anna"); err != nil {
		t.Fatal(err)
	}
	_ = ended(t, end)
	if _, err := f.admission.Invite(t.Context(), catalog.RoleProxy, time.Hour, "anna", "zone-a"); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("an invite of a proxy has labels: %v", err)
	}
}

// A refused machine that is patient goes on asking, and is in when the operator
// changes her mind.
func TestRefusedMachineGoesOnKnocking(t *testing.T) {
	f := newFront(t)
	m := f.machine("web-1", 9001)
	said, end := make(chan membership.Progress, 100), make(chan error, 1)
	o := m.options("", func(p membership.Progress) { said <- p })
	o.Patience = 20 * time.Millisecond
	go func() {
		_, err := membership.Join(t.Context(), o)
		end <- err
	}()
	await(t, said, membership.Waiting)
	if err := f.admission.Refuse(t.Context(), "web-1", "not ours", "anna"); err != nil {
		t.Fatal(err)
	}
	if p := await(t, said, membership.TurnedAway); p.Err == nil || !strings.Contains(p.Err.Error(), "not ours") {
		t.Errorf("%+v", p)
	}
	if err := f.admission.Accept(t.Context(), "web-1", "", "anna"); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, end); err != nil {
		t.Errorf("after the acceptance: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	f := newFront(t)
	m := f.machine("web-1", 9001)
	said, end := m.join(t.Context(), "")
	await(t, said, membership.Waiting)
	if err := f.admission.Refuse(t.Context(), "web-1", "not ours\x1b[2J", "anna"); err != nil {
		t.Fatal(err)
	}
	var refusal *membership.Refusal
	if err := ended(t, end); !errors.As(err, &refusal) || refusal.Code != membership.CodeRefused || !strings.Contains(refusal.Message, "not ours") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
	if err := f.admission.Revoke(t.Context(), "web-1", "", "anna"); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("revoke a refused machine: %v", err)
	}
	// Another machine may have the name then, and the operator may change her mind.
	if status, body := f.machine("web-1", 9021).knock(nil); status != http.StatusAccepted {
		t.Errorf("%d %s", status, body)
	}
	if err := f.admission.Accept(t.Context(), "nobody", "", "anna"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("accept nobody: %v", err)
	}
	if err := f.admission.Refuse(t.Context(), "proxy-1", "", "anna"); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("refuse an accepted member: %v", err)
	}
}

// M3: acceptance is bound to a key. The same name with another key is turned
// away and shown, pending or accepted.
func TestSameNameOtherKey(t *testing.T) {
	f := newFront(t)
	m := f.machine("web-1", 9001)
	if status, _ := m.knock(nil); status != http.StatusAccepted {
		t.Fatal(status)
	}
	for _, accepted := range []bool{false, true} {
		if accepted {
			if err := f.admission.Accept(t.Context(), "web-1", "", "anna"); err != nil {
				t.Fatal(err)
			}
		}
		thief := f.machine("web-1", 9001)
		status, body := thief.knock(nil)
		if status != http.StatusForbidden || !strings.Contains(body, membership.CodeNameTaken) {
			t.Errorf("accepted %t: %d %s", accepted, status, body)
		}
		shown := f.admission.TurnedAway()
		if len(shown) == 0 || shown[0].Fingerprint != thief.identity.Fingerprint() || shown[0].Name != "web-1" {
			t.Errorf("not shown: %+v", shown)
		}
	}
	if rec := f.catalog.View().Members["web-1"]; rec.Fingerprint != m.identity.Fingerprint() || rec.Rival == "" {
		t.Errorf("the thief has the name, or is not shown: %+v", rec)
	}
	entries, err := f.catalog.Audit(t.Context(), 10)
	if err != nil || !slices.ContainsFunc(entries, func(e catalog.AuditEntry) bool { return e.Action == "turn machine away" && e.Object == "web-1" }) {
		t.Errorf("audit: %+v, %v", entries, err)
	}
}

// What an answer to a knock holds is worth nothing without the machine's key:
// a request that was recorded and sent again yields no key.
func TestReplayedKnock(t *testing.T) {
	f := newFront(t)
	m := f.machine("web-1", 9001)
	_, _ = m.knock(nil)
	if err := f.admission.Accept(t.Context(), "web-1", "", "anna"); err != nil {
		t.Fatal(err)
	}
	status, body := m.knock(nil)
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	keys, err := f.admission.GossipKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(keys[0])
	if strings.Contains(body, strings.Trim(string(raw), `"`)) {
		t.Error("the answer holds the gossip key")
	}
}

// M2, D6: nothing is open to who was not accepted.
func TestStrangersGetNothing(t *testing.T) {
	f := newFront(t)
	pinned, err := certs.PinnedClientTLS(f.authority.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: pinned}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for _, c := range []struct{ method, path string }{{"GET", membership.PathKeys}, {"POST", membership.PathRenew}, {"GET", membership.PathKeys + "?have=x&wait=40"}} {
		r, _ := http.NewRequestWithContext(t.Context(), c.method, "https://"+f.addr+c.path, strings.NewReader("{}"))
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || !strings.Contains(string(body), membership.CodeNotMember) {
			t.Errorf("%s %s: %d %s", c.method, c.path, answer.StatusCode, body)
		}
	}
}

func TestKnockIsBounded(t *testing.T) {
	started := time.Now() // the clock stands, so that a slow machine gets no more tokens
	f := newFront(t, func(o *membership.AdmissionOptions) { o.SetNow(func() time.Time { return started }) })
	if status, _ := f.post(bytes.Repeat([]byte("x"), 17<<10)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("17 KiB: %d", status)
	}
	if status, _ := f.post([]byte("{")); status != http.StatusBadRequest {
		t.Errorf("half a document: %d", status)
	}
	m := f.machine("web-1", 9001)
	if status, body := m.knock(func(k *membership.Knock) { k.CSR[len(k.CSR)-1] ^= 1 }); status != http.StatusBadRequest || !strings.Contains(body, "does not have its key") {
		t.Errorf("forged signature: %d %s", status, body)
	}
	limited := 0
	for range 60 {
		if status, _ := m.knock(nil); status == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited != 60-17 { // three of the burst of 20 were spent above
		t.Errorf("%d of 60 knocks in a row are refused", limited)
	}
}

// M6: the pending list is capped; an invite passes by.
func TestPendingIsCapped(t *testing.T) {
	f := newFront(t)
	_, err := f.catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		for i := range 100 {
			m := catalog.Member{Name: fmt.Sprintf("ghost-%d", i), Role: catalog.RoleServer, Admission: catalog.Pending, Fingerprint: fmt.Sprintf("%064d", i), Knocked: time.Now()}
			if err := tx.PutMember(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m := f.machine("web-1", 9001)
	if status, body := m.knock(nil); status != http.StatusTooManyRequests || !strings.Contains(body, membership.CodeFull) {
		t.Errorf("%d %s", status, body)
	}
	i, err := f.admission.Invite(t.Context(), catalog.RoleServer, time.Hour, "anna")
	if err != nil {
		t.Fatal(err)
	}
	if status, body := m.knock(func(k *membership.Knock) { k.Code = i.Code }); status != http.StatusOK {
		t.Errorf("with an invite: %d %s", status, body)
	}
}

func TestJoinWrongFingerprint(t *testing.T) {
	f := newFront(t)
	m := f.machine("web-1", 9001)
	o := m.options("", nil)
	said := make(chan membership.Progress, 10)
	o.Progress = func(p membership.Progress) { said <- p }
	var err error
	if o.Pinned, err = certs.PinnedClientTLS("sha256:" + strings.Repeat("0", 64)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { _, err := membership.Join(ctx, o); end <- err }()
	p := await(t, said, membership.Unreachable)
	if !errors.Is(p.Err, certs.ErrWrongAuthority) {
		t.Errorf("%v", p.Err)
	}
	cancel()
	if err := ended(t, end); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if f.catalog.View().Members["web-1"] != nil {
		t.Error("the machine told a cluster that it does not trust about itself")
	}
}

// A server that is no portico is said to be none.
func TestJoinStrangeServer(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	f := newFront(t)
	m := f.machine("web-1", 9001)
	said := make(chan membership.Progress, 10)
	o := m.options("", func(p membership.Progress) { said <- p })
	o.Servers = []string{s.Listener.Addr().String()}
	o.Pinned = &tls.Config{InsecureSkipVerify: true}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { _, err := membership.Join(ctx, o); end <- err }()
	if p := await(t, said, membership.Unreachable); !strings.Contains(p.Err.Error(), "is this the admin address") {
		t.Errorf("%v", p.Err)
	}
	cancel()
	_ = ended(t, end)
	o.Servers = nil
	if _, err := membership.Join(t.Context(), o); err == nil || !strings.Contains(err.Error(), "agent.join") {
		t.Errorf("%v", err)
	}
}

// A proxy enrolls at every start and keeps its certificate; one that lost its
// identity folder comes back with a new key, and none takes an application
// server's name.
func TestEnroll(t *testing.T) {
	f := newFront(t)
	before := f.catalog.View().Members["proxy-1"]
	if before.Admission != catalog.Accepted || before.Role != catalog.RoleProxy {
		t.Fatalf("%+v", before)
	}
	h := membership.Hello{Name: "proxy-1", Addr: f.addr, Gossip: "127.0.0.1:7946", Version: "0.1.0", Platform: "test"}
	if err := membership.Enroll(t.Context(), f.catalog, f.authority, f.identity, h, time.Now()); err != nil {
		t.Fatal(err)
	}
	if after := f.catalog.View().Members["proxy-1"]; !bytes.Equal(after.Certificate, before.Certificate) {
		t.Error("a new certificate without need")
	}
	h.Gossip = "127.0.0.1:17946"
	if err := membership.Enroll(t.Context(), f.catalog, f.authority, f.identity, h, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := membership.Seeds(f.catalog.View()); !slices.Equal(got, []string{"127.0.0.1:17946"}) {
		t.Errorf("seeds %v", got)
	}
	other := f.machine("x", 1).identity
	if err := membership.Enroll(t.Context(), f.catalog, f.authority, other, h, time.Now()); err != nil {
		t.Fatal(err)
	}
	if m := f.catalog.View().Members["proxy-1"]; m.Fingerprint != other.Fingerprint() || !m.Knocked.Equal(before.Knocked) {
		t.Errorf("after a new key: %+v", m)
	}
	update := func(m catalog.Member) error {
		_, err := f.catalog.Update(t.Context(), func(tx *catalog.Tx) error { return tx.PutMember(m) })
		return err
	}
	if err := update(catalog.Member{Name: "web-1", Role: catalog.RoleServer, Admission: catalog.Accepted, Fingerprint: f.identity.Fingerprint()}); err != nil {
		t.Fatal(err)
	}
	h.Name = "web-1"
	if err := membership.Enroll(t.Context(), f.catalog, f.authority, f.identity, h, time.Now()); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("an application server's name: %v", err)
	}
}
