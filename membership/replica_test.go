package membership_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/membership"
	"portico/membership/catalog"
	"portico/tests/support/freeport"
)

// proxy is a machine that wants to be a proxy.
func (f *front) proxy(name string, port int) *machine {
	m := f.machine(name, port)
	m.hello.Role, m.hello.Catalog = catalog.RoleProxy, freeport.Addr(f.t)
	return m
}

// admit lets a machine in with an invitation of its role.
func (m *machine) admit() {
	m.t.Helper()
	i, err := m.f.admission.Invite(m.t.Context(), m.hello.Role, time.Hour, "anna")
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := membership.Join(m.t.Context(), m.options(i.Code, nil)); err != nil {
		m.t.Fatal(err)
	}
}

// askCatalog asks for a part in the catalog and returns what came back.
func (m *machine) askCatalog() (int, []byte) {
	m.t.Helper()
	tr := &http.Transport{TLSClientConfig: m.memberTLS()}
	if m.identity.NotAfter().IsZero() { // without a certificate, as those that knock
		tr.TLSClientConfig = m.options("", nil).Pinned
	}
	defer tr.CloseIdleConnections()
	answer, err := (&http.Client{Transport: tr}).Post("https://"+m.f.addr+membership.PathCatalog, "application/json", nil)
	if err != nil {
		return 0, nil // the handshake already
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer.StatusCode, body
}

// The key that seals the catalog goes to accepted proxies and to nobody else, and is
// written down nowhere.
func TestCatalogKeyIsForAcceptedProxies(t *testing.T) {
	seal := bytes.Repeat([]byte("seal"), 8)
	f := newFront(t, func(o *membership.AdmissionOptions) { o.SealKey = seal })
	refused := func(who string, m *machine) {
		t.Helper()
		status, body := m.askCatalog()
		var answer membership.Replica
		if status == http.StatusOK || json.Unmarshal(body, &answer) == nil && len(answer.Key) > 0 || bytes.Contains(body, seal) {
			t.Errorf("%s gets %d %s", who, status, body)
		}
	}
	good := f.proxy("proxy-2", 9000)
	refused("a machine that nobody accepted", good)
	good.admit()
	status, body := good.askCatalog()
	var answer membership.Replica
	if err := json.Unmarshal(body, &answer); status != http.StatusOK || err != nil || !bytes.Equal(answer.Key, seal) || len(answer.Members) != 2 {
		t.Fatalf("an accepted proxy gets %d %s: %v", status, body, err)
	}
	if status, body := good.askCatalog(); status != http.StatusOK {
		t.Errorf("asking again: %d %s", status, body)
	}

	refused("an application server", f.member("server-1", 9100))
	exported := f.machine("haproxy-1", 9200) // has a proxy's certificate, and no catalog
	csr, err := exported.identity.CSR("haproxy-1")
	if err != nil {
		t.Fatal(err)
	}
	record := catalog.Member{Name: "haproxy-1", Role: catalog.RoleProxy, Admission: catalog.Accepted, Fingerprint: exported.identity.Fingerprint()}
	der, err := f.authority.SignMember(csr, record, time.Now())
	if err == nil {
		err = exported.identity.SetCertificate(der, f.authority.Certificate())
	}
	if err == nil {
		_, err = f.catalog.Update(t.Context(), func(tx *catalog.Tx) error { return tx.PutMember(record) })
	}
	if err != nil {
		t.Fatal(err)
	}
	refused("an exported proxy", exported)

	if err := f.admission.Revoke(t.Context(), "proxy-2", "", "anna"); err != nil {
		t.Fatal(err)
	}
	refused("a revoked proxy", good)
	audit, err := f.catalog.Audit(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range audit {
		if text, _ := json.Marshal(e); strings.Contains(string(text), "sealseal") || strings.Contains(string(text), "c2VhbHNl") {
			t.Errorf("the audit has the key: %s", text)
		}
	}
}

// Whether a part in the catalog is still good is told to those who have one.
func TestStanding(t *testing.T) {
	f := newFront(t, func(o *membership.AdmissionOptions) { o.SealKey = make([]byte, catalog.KeySize) })
	m := f.proxy("proxy-2", 9000)
	m.admit()
	cluster, replica := f.catalog.Part()
	ask := func(cluster, replica string) error {
		ctx, cancel := context.WithTimeout(t.Context(), waitTime)
		defer cancel()
		return membership.Standing(ctx, m.memberTLS(), []string{freeport.Addr(t), f.addr}, cluster, replica)
	}
	if err := ask(cluster, replica); err != nil {
		t.Error(err)
	}
	for _, other := range [][2]string{{"1f", replica}, {cluster, "1f"}, {"", ""}} {
		var r *membership.Refusal
		if err := ask(other[0], other[1]); !errors.As(err, &r) || r.Code != membership.CodeNoReplica {
			t.Errorf("%v: %v", other, err)
		}
	}
	if err := f.admission.Revoke(t.Context(), "proxy-2", "", "anna"); err != nil {
		t.Fatal(err)
	}
	var r *membership.Refusal
	if err := ask(cluster, replica); !errors.As(err, &r) || r.Code != membership.CodeNotMember {
		t.Errorf("revoked: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	if err := membership.Standing(ctx, m.memberTLS(), []string{freeport.Addr(t)}, cluster, replica); err == nil || errors.As(err, &r) && r.Code == "" {
		t.Errorf("nobody to ask: %v", err)
	}
}
