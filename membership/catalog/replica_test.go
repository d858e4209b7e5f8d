package catalog_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico/certs"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/tests/support/freeport"
)

// proxies are those of one cluster, in one process.
type proxies struct {
	t         *testing.T
	authority *certs.Authority
}

// replica is one of them; it can be closed and opened again.
type replica struct {
	*catalog.Catalog
	in        *proxies
	name, dir string
	addr      string
	identity  *certs.Identity
}

func (p *proxies) replica(name string) *replica {
	p.t.Helper()
	r := &replica{in: p, name: name, dir: p.t.TempDir(), addr: freeport.Addr(p.t)}
	var err error
	if r.identity, err = certs.LoadIdentity(filepath.Join(r.dir, "identity")); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { r.close() })
	return r
}

func (r *replica) close() {
	began := time.Now()
	defer func() { r.in.t.Log("close", r.name, time.Since(began)) }()
	if r.Catalog != nil {
		_ = r.Catalog.Close()
	}
}

func (r *replica) member() catalog.Member {
	return catalog.Member{
		Name: r.name, ID: r.identity.ID(), Role: catalog.RoleProxy, Admission: catalog.Accepted, Admin: catalog.AdminReady,
		Addr: r.addr, Catalog: r.addr, Fingerprint: r.identity.Fingerprint(), Knocked: time.Now(),
	}
}

func (r *replica) try(join *catalog.Joining) error {
	file := func(name string) string { return filepath.Join(r.dir, "identity", name) }
	var handler slog.Handler = slog.DiscardHandler
	if os.Getenv("PORTICO_TEST_LOG") != "" {
		handler = slog.NewTextHandler(r.in.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}).WithAttrs([]slog.Attr{slog.String("proxy", r.name)})
	}
	c, err := catalog.Open(r.in.t.Context(), catalog.Options{
		Dir: filepath.Join(r.dir, "catalog"), Name: r.name, Key: key, Logger: slog.New(handler),
		Peers: &catalog.Peers{
			Listen: r.addr, Advertise: r.addr, Join: join,
			Cert: file("certificate.pem"), Key: file("key.pem"), CA: file("ca.pem"),
			ServerTLS: func(check func(catalog.Role, string, string) error) *tls.Config {
				return r.identity.ServerConfig(check)
			},
			ClientTLS: func(name string, check func(catalog.Role, string, string) error) *tls.Config {
				return r.identity.ClientConfig(catalog.RoleProxy, name, check)
			},
			Peer: func(state tls.ConnectionState) (catalog.Role, string, string) {
				p, fingerprint, _ := certs.PeerOf(state)
				return p.Role, p.Name, fingerprint
			},
		},
	})
	if err == nil {
		r.Catalog = c
	}
	return err
}

func (r *replica) open(join *catalog.Joining) {
	r.in.t.Helper()
	if err := r.try(join); err != nil {
		r.in.t.Fatal(r.name, err)
	}
}

// sign gives the machine the certificate of an accepted member.
func (r *replica) sign(m catalog.Member) {
	r.in.t.Helper()
	csr, err := r.identity.CSR(m.Name)
	if err != nil {
		r.in.t.Fatal(err)
	}
	der, err := r.in.authority.SignMember(csr, m, time.Now())
	if err == nil {
		err = r.identity.SetCertificate(der, r.in.authority.Certificate())
	}
	if err != nil {
		r.in.t.Fatal(err)
	}
}

// first makes the cluster with its first proxy.
func first(t *testing.T) *replica {
	t.Helper()
	r := (&proxies{t: t}).replica("proxy-1")
	r.open(nil)
	var err error
	if r.in.authority, err = certs.LoadAuthority(t.Context(), r.Catalog, nil); err != nil {
		t.Fatal(err)
	}
	r.accept(r)
	return r
}

// accept lets another proxy in, with r having the catalog.
func (r *replica) accept(other *replica) {
	r.in.t.Helper()
	update(r.in.t, r.Catalog, func(tx *catalog.Tx) error { return tx.PutMember(other.member()) })
	other.sign(other.member())
}

// join adds a proxy by way of r.
func (r *replica) join(name string) *replica {
	r.in.t.Helper()
	other := r.in.replica(name)
	r.accept(other)
	j, err := r.AddReplica(r.in.t.Context(), name)
	if err != nil {
		r.in.t.Fatal(err)
	}
	other.open(&j)
	return other
}

// eventually waits until check has nothing to say.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks; the loop has a limit
	}
}

// roles waits until the proxies have these roles, as r sees it.
func (r *replica) roles(want map[string]bool) {
	r.in.t.Helper()
	eventually(r.in.t, func() error {
		got := map[string]bool{}
		for _, s := range r.Replicas(r.in.t.Context()) {
			if !s.Reachable || !s.Ready {
				return fmt.Errorf("%+v", s)
			}
			got[s.Name] = s.Role != catalog.ReplicaLearner
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("votes %v, want %v", got, want)
		}
		return nil
	})
}

func putSite(ctx context.Context, c *catalog.Catalog, name string) (int64, error) {
	return c.Update(ctx, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: name}) })
}

// has waits until r has a site.
func (r *replica) has(name string) {
	r.in.t.Helper()
	eventually(r.in.t, func() error {
		if r.View().Sites[name] == nil {
			return fmt.Errorf("%s does not have site %s", r.name, name)
		}
		return nil
	})
}

// The second proxy has a copy, the third gives both a vote, and what one of them
// writes the others have.
func TestProxiesShareTheCatalog(t *testing.T) {
	one := first(t)
	update(t, one.Catalog, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "before"}) })
	began := time.Now()
	two := one.join("proxy-2")
	t.Log("second", time.Since(began))
	two.has("before")
	one.roles(map[string]bool{"proxy-1": true, "proxy-2": false})
	if _, err := putSite(t.Context(), two.Catalog, "by-a-copy"); err != nil {
		t.Fatal(err)
	}
	one.has("by-a-copy")
	began = time.Now()
	three := two.join("proxy-3")
	t.Log("third", time.Since(began))
	three.roles(map[string]bool{"proxy-1": true, "proxy-2": true, "proxy-3": true})
	t.Log("votes", time.Since(began))
	if _, err := putSite(t.Context(), three.Catalog, "by-the-third"); err != nil {
		t.Fatal(err)
	}
	one.has("by-the-third")
	two.has("by-the-third")

	// A majority goes on, and who was away catches up.
	one.close()
	began = time.Now()
	if _, err := putSite(t.Context(), three.Catalog, "without-the-first"); err != nil {
		t.Fatal(err)
	}
	t.Log("write without the first", time.Since(began))
	two.has("without-the-first")
	began = time.Now()
	one.open(nil)
	t.Log("reopened", time.Since(began))
	one.has("without-the-first")

	if err := two.Storage().Put(t.Context(), "certificate", []byte("stored")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := one.Storage().Get(t.Context(), "certificate")
		return err
	})

	// A minority refuses, and has what it knew, after a restart as well.
	two.close()
	three.close()
	if _, err := putSite(t.Context(), one.Catalog, "alone"); !errors.Is(err, catalog.ErrNoMajority) {
		t.Errorf("one of three takes a change: %v", err)
	}
	if _, err := putSite(t.Context(), one.Catalog, "alone"); !errors.Is(err, catalog.ErrNoMajority) || errors.Is(err, catalog.ErrUncertain) {
		t.Errorf("one of three, which sends nothing without a leader, says: %v", err)
	}
	one.close()
	one.open(nil)
	if value, err := one.Storage().Get(t.Context(), "certificate"); err != nil || string(value) != "stored" {
		t.Errorf("one of three does not have what was stored: %q, %v", value, err)
	}
	if one.View().Sites["without-the-first"] == nil || one.HasLeader() {
		t.Error("one of three does not serve what it knew")
	}
	two.open(nil)
	eventually(t, func() error {
		_, err := putSite(t.Context(), one.Catalog, "two-again")
		return err
	})
	if errors.Is(one.Err(), catalog.ErrBroken) {
		t.Error(one.Err())
	}
}

// handshake tries to speak with a proxy's catalog, and reports whether it got an
// answer to a request: with TLS 1.3 a client learns late that it was turned away.
func handshake(t *testing.T, addr string, client *tls.Config) error {
	t.Helper()
	conn, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write([]byte("GET /version HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// Only accepted proxies get past the handshake: no application server with the
// certificate of one, nobody who was revoked, no other cluster, nobody without.
func TestWhoMaySpeakWithTheCatalog(t *testing.T) {
	one := first(t)
	two := one.join("proxy-2")
	one.upToDate("proxy-2")
	any := func(catalog.Role, string, string) error { return nil }
	client := func(r *replica) *tls.Config { return r.identity.ClientConfig("", "", any) }
	if err := handshake(t, one.addr, client(two)); err != nil {
		t.Fatal("an accepted proxy is turned away:", err)
	}

	server := one.in.replica("server-1")
	m := server.member()
	m.Role, m.Catalog = catalog.RoleServer, ""
	update(t, one.Catalog, func(tx *catalog.Tx) error { return tx.PutMember(m) })
	server.sign(m)
	if handshake(t, one.addr, client(server)) == nil {
		t.Error("an application server speaks with the catalog")
	}
	// A certificate as a proxy for a machine that the catalog has as a server.
	posing := m
	posing.Role, posing.Catalog = catalog.RoleProxy, server.addr
	server.sign(posing)
	if handshake(t, one.addr, client(server)) == nil {
		t.Error("an application server with a proxy's certificate speaks with the catalog")
	}
	unknown := one.in.replica("proxy-9")
	unknown.sign(unknown.member())
	if handshake(t, one.addr, client(unknown)) == nil {
		t.Error("a proxy that nobody accepted speaks with the catalog")
	}
	otherKey := one.in.replica("proxy-2")
	otherKey.sign(otherKey.member())
	if handshake(t, one.addr, client(otherKey)) == nil {
		t.Error("another key with the name of a proxy speaks with the catalog")
	}
	elsewhere := first(t)
	if handshake(t, one.addr, client(elsewhere)) == nil {
		t.Error("a proxy of another cluster speaks with the catalog")
	}
	if handshake(t, one.addr, &tls.Config{InsecureSkipVerify: true}) == nil {
		t.Error("somebody without a certificate speaks with the catalog")
	}
}

// upToDate waits until a proxy is up to date, as r sees it.
func (r *replica) upToDate(name string) {
	r.in.t.Helper()
	eventually(r.in.t, func() error {
		for _, s := range r.Replicas(r.in.t.Context()) {
			if s.Name == name && s.Reachable && s.Ready && s.Behind == 0 {
				return nil
			}
		}
		return fmt.Errorf("%s is not up to date", name)
	})
}

// A revoked proxy is out at once, is told so, and its name can join anew with
// another key.
func TestRevokedProxyIsOut(t *testing.T) {
	one := first(t)
	two, three := one.join("proxy-2"), one.join("proxy-3")
	one.roles(map[string]bool{"proxy-1": true, "proxy-2": true, "proxy-3": true})
	update(t, one.Catalog, func(tx *catalog.Tx) error {
		_, err := command.RevokeMember(tx, "proxy-3", "stolen", "test", time.Now())
		return err
	})
	one.roles(map[string]bool{"proxy-1": true, "proxy-2": true})
	eventually(t, func() error {
		if handshake(t, two.addr, three.identity.ClientConfig("", "", nil)) == nil {
			return errors.New("it still speaks with the catalog")
		}
		return nil
	})
	update(t, two.Catalog, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "after"}) })
	if three.View().Sites["after"] != nil {
		t.Error("a revoked proxy hears of changes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := putSite(ctx, three.Catalog, "by-the-revoked"); err == nil {
		t.Error("a revoked proxy changes the catalog")
	}
	three.close()

	update(t, one.Catalog, func(tx *catalog.Tx) error { return command.RemoveMember(tx, "proxy-3") })
	again := one.join("proxy-3") // a new folder with a new key
	again.has("after")
	one.roles(map[string]bool{"proxy-1": true, "proxy-2": true, "proxy-3": true})
}

// A copy without a vote notices that the only one that decides has gone, and says so.
func TestCopyWithoutItsLeader(t *testing.T) {
	t.Parallel()
	one := first(t)
	two := one.join("proxy-2")
	one.upToDate("proxy-2")
	one.close()
	eventually(t, func() error {
		if two.HasLeader() {
			return errors.New("it believes in a leader that is gone")
		}
		return nil
	})
	if _, err := putSite(t.Context(), two.Catalog, "alone"); !errors.Is(err, catalog.ErrNoMajority) {
		t.Errorf("a copy takes a change: %v", err)
	}
	one.open(nil)
	eventually(t, func() error {
		_, err := putSite(t.Context(), two.Catalog, "together")
		return err
	})
}
