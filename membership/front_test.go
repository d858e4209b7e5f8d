package membership_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"portico/certs"
	"portico/membership"
	"portico/membership/catalog"
	"portico/tests/support/freeport"
)

// front is a proxy's admin listener with a real catalog, authority and TLS.
type front struct {
	t         testing.TB
	catalog   *catalog.Catalog
	authority *certs.Authority
	admission *membership.Admission
	identity  *certs.Identity
	addr      string
	keys      chan [][]byte // what Run hands to gossip
}

func newFront(t testing.TB, change ...func(*membership.AdmissionOptions)) *front {
	t.Helper()
	dir := t.TempDir()
	f := &front{t: t, keys: make(chan [][]byte, 16)}
	replicas, file := freeport.Addr(t), func(name string) string { return filepath.Join(dir, "identity", name) }
	c, err := catalog.Open(t.Context(), catalog.Options{
		Dir: filepath.Join(dir, "catalog"), Name: "proxy-1", Key: make([]byte, catalog.KeySize),
		Peers: &catalog.Peers{
			Listen: replicas, Advertise: replicas, Cert: file("certificate.pem"), Key: file("key.pem"), CA: file("ca.pem"),
			ServerTLS: func(check func(catalog.Role, string, string) error) *tls.Config {
				return f.identity.CatalogConfig(check)
			},
			ClientTLS: func(name string, check func(catalog.Role, string, string) error) *tls.Config {
				return f.identity.ClientConfig(catalog.RoleProxy, name, check)
			},
			Peer: func(state tls.ConnectionState) (catalog.Role, string, string) {
				p, fingerprint, _ := certs.PeerOf(state)
				return p.Role, p.Name, fingerprint
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	authority, err := certs.LoadAuthority(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := certs.LoadIdentity(filepath.Join(dir, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	f.catalog, f.authority, f.identity = c, authority, id
	o := membership.AdmissionOptions{
		Catalog: c, Authority: authority, Name: "proxy-1", Version: "0.1.0", Loopback: true,
		Member:  certs.MemberOf(c.View),
		SetKeys: func(k [][]byte) error { f.keys <- k; return nil },
	}
	for _, c := range change {
		c(&o)
	}
	f.admission = membership.NewAdmission(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	if err := membership.Enroll(t.Context(), c, authority, id, membership.Hello{Name: "proxy-1", Addr: f.addr, Gossip: "127.0.0.1:7946", Version: "0.1.0", Platform: "test"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range f.admission.Handlers() {
		mux.Handle(pattern, h)
	}
	pair, err := authority.IssueServer([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	// As the command does it: people see one certificate, members another.
	member := id.ServerConfig(nil).GetCertificate
	base := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if h.ServerName == "proxy.member.portico" {
			return member(h)
		}
		return pair, nil
	}}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		_ = server.Serve(tls.NewListener(ln, id.OptionalClient(base, certs.CheckView(c.View))))
	}()
	go func() { defer func() { done <- struct{}{} }(); f.admission.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		<-done
		<-done
	})
	return f
}

// machine is a server that wants in.
type machine struct {
	t        testing.TB
	f        *front
	identity *certs.Identity
	hello    membership.Hello
}

func (f *front) machine(name string, port int) *machine {
	f.t.Helper()
	id, err := certs.LoadIdentity(filepath.Join(f.t.TempDir(), "identity"))
	if err != nil {
		f.t.Fatal(err)
	}
	return &machine{f.t, f, id, membership.Hello{
		Name: name, Role: catalog.RoleServer, Addr: fmt.Sprintf("127.0.0.1:%d", port), Gossip: fmt.Sprintf("127.0.0.1:%d", port+1),
		Version: "0.1.3", Platform: "linux/amd64",
	}}
}

// member is a machine that an invitation has let in.
func (f *front) member(name string, port int) *machine {
	f.t.Helper()
	m := f.machine(name, port)
	i, err := f.admission.Invite(f.t.Context(), catalog.RoleServer, time.Hour, "anna")
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := membership.Join(f.t.Context(), m.options(i.Code, nil)); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (m *machine) memberTLS() *tls.Config {
	c := m.identity.ClientConfig(catalog.RoleProxy, "", nil)
	c.ServerName = "proxy.member.portico"
	return c
}

func (m *machine) options(code string, progress func(membership.Progress)) membership.JoinOptions {
	m.t.Helper()
	pinned, err := certs.PinnedClientTLS(m.f.authority.Fingerprint())
	if err != nil {
		m.t.Fatal(err)
	}
	return membership.JoinOptions{
		Identity: m.identity, Servers: []string{m.f.addr}, Pinned: pinned,
		Member: m.memberTLS(),
		Hello:  m.hello, Code: code, Progress: progress,
	}
}

// join starts to join and returns what it says and where it ends.
func (m *machine) join(ctx context.Context, code string) (<-chan membership.Progress, <-chan error) {
	said, end := make(chan membership.Progress, 100), make(chan error, 1)
	o := m.options(code, func(p membership.Progress) { said <- p })
	go func() {
		_, err := membership.Join(ctx, o)
		end <- err
	}()
	return said, end
}

// knock sends one knock over plain pinned TLS and returns status and body.
func (m *machine) knock(change func(*membership.Knock)) (int, string) {
	m.t.Helper()
	csr, err := m.identity.CSR(m.hello.Name)
	if err != nil {
		m.t.Fatal(err)
	}
	k := membership.Knock{Hello: m.hello, CSR: csr}
	k.ID = m.identity.ID()
	if change != nil {
		change(&k)
	}
	body, err := json.Marshal(k)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.f.post(body)
}

func (f *front) post(body []byte) (int, string) {
	f.t.Helper()
	pinned, err := certs.PinnedClientTLS(f.authority.Fingerprint())
	if err != nil {
		f.t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: pinned}
	defer tr.CloseIdleConnections()
	answer, err := (&http.Client{Transport: tr}).Post("https://"+f.addr+membership.PathKnock, "application/json", bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// waitTime is how long a test waits for what must come: a bound on failures, long
// enough for a machine that does ten other things.
const waitTime = 60 * time.Second

func await(t testing.TB, said <-chan membership.Progress, want membership.ProgressState) membership.Progress {
	t.Helper()
	deadline := time.After(waitTime)
	for {
		select {
		case p := <-said:
			if p.State == want {
				return p
			}
		case <-deadline:
			t.Fatalf("never %s", want)
		}
	}
}

func ended(t testing.TB, end <-chan error) error {
	t.Helper()
	select {
	case err := <-end:
		return err
	case <-time.After(waitTime):
		t.Fatal("joining does not end")
		return nil
	}
}
