package membership_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// M9: whoever is revoked has nothing from that moment on, also on connections
// that live, and the gossip key changes for everybody else.
func TestRevoke(t *testing.T) {
	f := newFront(t)
	var servers []*machine
	for i, name := range []string{"web-1", "web-2"} {
		servers = append(servers, f.member(name, 9001+10*i))
	}
	_, err := f.catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		return tx.PutInstance(catalog.Instance{ID: ids.NewInstance(), Site: "shop", Member: "web-1", State: catalog.InstanceHealthy})
	})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := f.admission.GossipKeys(t.Context())

	news := make(chan [][]byte, 4)
	keepOne := func(m *machine, set func([][]byte) error) <-chan error {
		end := make(chan error, 1)
		o := membership.KeepOptions{
			Identity: m.identity, Servers: func() []string { return []string{f.addr} },
			Member: m.memberTLS(), Hello: func() membership.Hello { return m.hello }, SetKeys: set,
		}
		go func() { end <- membership.Keep(t.Context(), o) }()
		return end
	}
	gone := keepOne(servers[0], func([][]byte) error { t.Error("the revoked member got the new key"); return nil })
	keepOne(servers[1], func(k [][]byte) error { news <- k; return nil })

	// A connection that is open already.
	tr := &http.Transport{TLSClientConfig: servers[0].memberTLS()}
	defer tr.CloseIdleConnections()
	open := &http.Client{Transport: tr}
	get := func() int {
		answer, err := open.Get("https://" + f.addr + membership.PathKeys)
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if status := get(); status != http.StatusOK {
		t.Fatal(status)
	}
	if err := f.admission.Revoke(t.Context(), "web-1", "sold", "anna"); err != nil {
		t.Fatal(err)
	}
	if status := get(); status != http.StatusForbidden {
		t.Errorf("the open connection of a revoked member answers %d", status)
	}
	if n := len(f.catalog.View().Instances); n != 0 {
		t.Errorf("%d instances of a revoked member", n)
	}
	select {
	case k := <-news:
		if len(k) != 2 || bytes.Equal(k[0], before[0]) || !bytes.Equal(k[1], before[0]) {
			t.Errorf("keys after revoking: %x", k)
		}
	case <-time.After(waitTime):
		t.Fatal("the other member did not get the new key")
	}
	select {
	case k := <-news: // the grace ends
		if len(k) != 1 {
			t.Errorf("keys after the grace: %d", len(k))
		}
	case <-time.After(waitTime):
		t.Fatal("the former key stays")
	}
	var refusal *membership.Refusal
	if err := ended(t, gone); !errors.As(err, &refusal) || refusal.Code != membership.CodeNotMember {
		t.Errorf("the revoked member's keeper ends with %v", err)
	}
	if _, err := membership.Join(t.Context(), servers[0].options("", nil)); !errors.As(err, &refusal) || refusal.Code != membership.CodeRevoked || !strings.Contains(err.Error(), "sold") {
		t.Errorf("the revoked member joins again: %v", err)
	}
	if err := f.admission.Revoke(t.Context(), "proxy-1", "", "anna"); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("the proxy revokes itself: %v", err)
	}
}

// News of a member (a new address) reaches the catalog; a claim on another
// member's address does not.
func TestRenew(t *testing.T) {
	f := newFront(t)
	m := f.member("web-1", 9001)
	m.hello.Addr, m.hello.Runtimes = "127.0.0.1:9901", map[string]string{"php": "8.2"}
	if _, err := membership.Join(t.Context(), m.options("", nil)); err != nil {
		t.Fatal(err)
	}
	rec := f.catalog.View().Members["web-1"]
	if rec.Addr != "127.0.0.1:9901" || rec.Runtimes["php"] != "8.2" || rec.Admission != catalog.Accepted {
		t.Errorf("record %+v", rec)
	}
	post := func(in membership.Renewal) (int, string) {
		tr := &http.Transport{TLSClientConfig: m.memberTLS()}
		defer tr.CloseIdleConnections()
		body, _ := json.Marshal(in)
		answer, err := (&http.Client{Transport: tr}).Post("https://"+f.addr+membership.PathRenew, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		data, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(data)
	}
	h := m.hello
	h.Addr = f.addr // the proxy's
	if status, body := post(membership.Renewal{Hello: h}); status != http.StatusForbidden || !strings.Contains(body, membership.CodeAddressTaken) {
		t.Errorf("%d %s", status, body)
	}
	// A member may be one minor version apart, also when it starts anew.
	h = m.hello
	h.Version = "0.3.0"
	if status, body := post(membership.Renewal{Hello: h}); status != http.StatusForbidden || !strings.Contains(body, `"`+membership.CodeVersion+`"`) {
		t.Errorf("two minor versions ahead: %d %s", status, body)
	}
	m.hello.Version = "0.2.0"
	if _, err := membership.Join(t.Context(), m.options("", nil)); err != nil || f.catalog.View().Members["web-1"].Version != "0.2.0" {
		t.Errorf("one minor version ahead: %v, version %s", err, f.catalog.View().Members["web-1"].Version)
	}
	other := f.machine("web-9", 1)
	csr, _ := other.identity.CSR("web-1")
	if status, body := post(membership.Renewal{Hello: m.hello, CSR: csr}); status != http.StatusForbidden || !strings.Contains(body, membership.CodeKeyTaken) {
		t.Errorf("another key: %d %s", status, body)
	}
	csr, _ = m.identity.CSR("web-1")
	status, body := post(membership.Renewal{Hello: m.hello, CSR: csr})
	var a membership.Acceptance
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != http.StatusOK || len(a.Certificate) == 0 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if err := m.identity.SetCertificate(a.Certificate, a.CA); err != nil {
		t.Error(err)
	}
}
