package certs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/certs"
	"portico/membership/catalog"
)

func TestMain(m *testing.M) {
	// certmagic has one limiter for each directory and address, for the life of
	// the process; its source says that nothing stops it.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

func openCatalog(t testing.TB, dir string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: make([]byte, catalog.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func authority(t testing.TB, c *catalog.Catalog) *certs.Authority {
	t.Helper()
	a, err := certs.LoadAuthority(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// enrol makes a machine's identity and has the authority sign it.
func enrol(t testing.TB, a *certs.Authority, name string, role catalog.Role) (*certs.Identity, catalog.Member) {
	t.Helper()
	id, err := certs.LoadIdentity(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	csr, err := id.CSR(name)
	if err != nil {
		t.Fatal(err)
	}
	m := catalog.Member{Name: name, Role: role, Admission: catalog.Accepted, Fingerprint: id.Fingerprint()}
	der, err := a.SignMember(csr, m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := id.SetCertificate(der, a.Certificate()); err != nil {
		t.Fatal(err)
	}
	return id, m
}

// shake runs one handshake over loopback and returns what both sides said, and
// whether the session was a resumed one.
func shake(t testing.TB, server, client *tls.Config) (serverErr, clientErr error, resumed bool) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		s := tls.Server(conn, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte("ok"))
		done <- err
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(raw, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = io.ReadAll(c) // TLS 1.3 tells a client of refusal at its first read, and brings tickets
	}
	resumed = c.ConnectionState().DidResume
	_ = raw.Close()
	return <-done, clientErr, resumed
}

func TestMembersKnowEachOther(t *testing.T) {
	a := authority(t, openCatalog(t, t.TempDir()))
	proxy, _ := enrol(t, a, "proxy-1", catalog.RoleProxy)
	server, _ := enrol(t, a, "web-1", catalog.RoleServer)
	stranger, err := certs.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other := authority(t, openCatalog(t, t.TempDir()))
	foreign, _ := enrol(t, other, "web-1", catalog.RoleServer)
	insecure := &tls.Config{InsecureSkipVerify: true}
	old := server.ClientConfig("", "", nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12

	for _, tt := range []struct {
		name           string
		server, client *tls.Config
		ok             bool
	}{
		{"members", proxy.ServerConfig(nil), server.ClientConfig(catalog.RoleProxy, "proxy-1", nil), true},
		{"any name", proxy.ServerConfig(nil), server.ClientConfig("", "", nil), true},
		{"another name", proxy.ServerConfig(nil), server.ClientConfig(catalog.RoleProxy, "proxy-2", nil), false},
		{"another role", server.ServerConfig(nil), proxy.ClientConfig(catalog.RoleProxy, "", nil), false},
		{"no certificate", proxy.ServerConfig(nil), insecure, false},
		{"not accepted", proxy.ServerConfig(nil), stranger.ClientConfig("", "", nil), false},
		{"foreign client", proxy.ServerConfig(nil), foreign.ClientConfig("", "", nil), false},
		{"foreign server", foreign.ServerConfig(nil), proxy.ClientConfig("", "", nil), false},
		{"TLS 1.2", proxy.ServerConfig(nil), old, false},
		{"people on a shared listener", proxy.OptionalClient(proxy.ServerConfig(nil), nil), insecure, true},
		{"foreigner on a shared listener", proxy.OptionalClient(proxy.ServerConfig(nil), nil), foreign.ClientConfig("", "", nil), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serr, cerr, _ := shake(t, tt.server, tt.client)
			if ok := serr == nil && cerr == nil; ok != tt.ok {
				t.Errorf("server: %v, client: %v; want success %v", serr, cerr, tt.ok)
			}
		})
	}
}

// A revoked member must not slip in with a session ticket from before, neither
// between members nor at the admin listener.
func TestRevokedMemberCannotResume(t *testing.T) {
	a := authority(t, openCatalog(t, t.TempDir()))
	proxy, _ := enrol(t, a, "proxy-1", catalog.RoleProxy)
	server, member := enrol(t, a, "web-1", catalog.RoleServer)
	var view atomic.Pointer[catalog.View]
	check := certs.CheckView(view.Load)
	issued, err := a.IssueServer([]string{"agent"})
	if err != nil {
		t.Fatal(err)
	}
	admin := proxy.OptionalClient(&tls.Config{Certificates: []tls.Certificate{*issued}, MinVersion: tls.VersionTLS12}, check)
	t.Run("members", func(t *testing.T) {
		view.Store(&catalog.View{Members: map[string]*catalog.Member{"web-1": &member}})
		revokedCannotResume(t, proxy.ServerConfig(check), server.ClientConfig("", "", nil), member, &view)
	})
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run("admin, TLS "+name, func(t *testing.T) {
			view.Store(&catalog.View{Members: map[string]*catalog.Member{"web-1": &member}})
			cc := server.ClientConfig("", "", nil)
			cc.MinVersion, cc.MaxVersion, cc.VerifyConnection = version, version, nil
			revokedCannotResume(t, admin, cc, member, &view)
		})
	}
}

// revokedCannotResume resumes a member's session, revokes the member, and tries again.
func revokedCannotResume(t *testing.T, sc, cc *tls.Config, member catalog.Member, view *atomic.Pointer[catalog.View]) {
	t.Helper()
	cc.ServerName = "agent"
	cc.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for i, resumed := range []bool{false, true} {
		serr, cerr, did := shake(t, sc, cc)
		if serr != nil || cerr != nil || did != resumed {
			t.Fatalf("handshake %d: server: %v, client: %v, resumed %v", i, serr, cerr, did)
		}
	}
	revoked := member
	revoked.Admission = catalog.Revoked
	view.Store(&catalog.View{Members: map[string]*catalog.Member{"web-1": &revoked}})
	if serr, _, _ := shake(t, sc, cc); !errors.Is(serr, certs.ErrNotMember) {
		t.Fatalf("server: %v, want ErrNotMember", serr)
	}
}

func TestPinnedClient(t *testing.T) {
	a := authority(t, openCatalog(t, t.TempDir()))
	b := authority(t, openCatalog(t, t.TempDir()))
	proxy, _ := enrol(t, a, "proxy-1", catalog.RoleProxy)
	server, _ := enrol(t, a, "web-1", catalog.RoleServer)
	issued, err := a.IssueServer([]string{"127.0.0.1", "proxy.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	admin := &tls.Config{Certificates: []tls.Certificate{*issued}}
	for _, tt := range []struct {
		name, pin string
		server    *tls.Config
		ok        bool
	}{
		{"issued", a.Fingerprint(), admin, true},
		{"proxy member", a.Fingerprint(), proxy.OptionalClient(proxy.ServerConfig(nil), nil), true},
		{"application server", a.Fingerprint(), server.OptionalClient(server.ServerConfig(nil), nil), false},
		{"another cluster", b.Fingerprint(), admin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cc, err := certs.PinnedClientTLS(tt.pin)
			if err != nil {
				t.Fatal(err)
			}
			_, cerr, _ := shake(t, tt.server, cc)
			if (cerr == nil) != tt.ok {
				t.Errorf("client: %v, want success %v", cerr, tt.ok)
			}
		})
	}
	for _, pin := range []string{"", "sha256:", "sha256:zz", a.Fingerprint() + "00"} {
		if _, err := certs.PinnedClientTLS(pin); err == nil {
			t.Errorf("fingerprint %q was taken", pin)
		}
	}
}

func TestSignMemberRefuses(t *testing.T) {
	a := authority(t, openCatalog(t, t.TempDir()))
	id, err := certs.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	csr, err := id.CSR("web-1")
	if err != nil {
		t.Fatal(err)
	}
	good := catalog.Member{Name: "web-1", Role: catalog.RoleServer, Admission: catalog.Accepted, Fingerprint: id.Fingerprint()}
	forged := append([]byte(nil), csr...)
	forged[len(forged)-1] ^= 1
	for _, tt := range []struct {
		name   string
		csr    []byte
		change func(*catalog.Member)
	}{
		{"pending", csr, func(m *catalog.Member) { m.Admission = catalog.Pending }},
		{"revoked", csr, func(m *catalog.Member) { m.Admission = catalog.Revoked }},
		{"another key", csr, func(m *catalog.Member) { m.Fingerprint = "00" }},
		{"name", csr, func(m *catalog.Member) { m.Name = "../x" }},
		{"role", csr, func(m *catalog.Member) { m.Role = "king" }},
		{"broken signature", forged, func(*catalog.Member) {}},
		{"garbage", []byte("garbage"), func(*catalog.Member) {}},
	} {
		m := good
		tt.change(&m)
		if _, err := a.SignMember(tt.csr, m, time.Now()); err == nil {
			t.Errorf("%s: signed", tt.name)
		}
	}
	if _, err := a.SignMember(csr, good, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestIdentitySurvivesRestart(t *testing.T) {
	c := openCatalog(t, t.TempDir())
	a := authority(t, c)
	if again := authority(t, c); again.Fingerprint() != a.Fingerprint() {
		t.Fatal("the authority changed")
	}
	dir := filepath.Join(t.TempDir(), "identity")
	id, err := certs.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := id.Peer(); ok || id.NeedsRenewal(time.Now()) {
		t.Fatal("a new machine has a certificate")
	}
	csr, err := id.CSR("web-1")
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.SignMember(csr, catalog.Member{Name: "web-1", Role: catalog.RoleServer, Admission: catalog.Accepted, Fingerprint: id.Fingerprint()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, _ := enrol(t, a, "web-2", catalog.RoleServer)
	if err := other.SetCertificate(der, a.Certificate()); err == nil {
		t.Error("a certificate for another key was taken")
	}
	if err := id.SetCertificate(der, a.Certificate()); err != nil {
		t.Fatal(err)
	}
	if err := id.SetGossipKeys([][]byte{make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	again, err := certs.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	peer, ok := again.Peer()
	want := certs.Peer{Cluster: c.View().ClusterID, Role: catalog.RoleServer, Name: "web-1"}
	if !ok || peer != want || again.ID() != id.ID() || again.Fingerprint() != id.Fingerprint() || again.AuthorityFingerprint() != a.Fingerprint() {
		t.Errorf("after restart: %+v %v, want %+v", peer, ok, want)
	}
	if again.NeedsRenewal(time.Now()) || !again.NeedsRenewal(time.Now().Add(61*24*time.Hour)) {
		t.Error("renewal is not due when a third of the life is left")
	}
	if keys, err := again.GossipKeys(); err != nil || len(keys) != 1 {
		t.Error("gossip keys:", keys, err)
	}
	if runtime.GOOS != "windows" {
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 5 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
			}
		}
	}
}
