package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"portico/certs"
	"portico/membership/catalog/command"
	"portico/tests/support/selfsigned"
)

// visitors is a manager with a certificate for two hosts, and what its visitors trust.
type visitors struct {
	t     *testing.T
	files []certs.File
	roots *x509.CertPool
}

func newVisitors(t *testing.T) *visitors {
	t.Helper()
	cert := selfsigned.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"a.test", "b.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	})
	f := certs.File{Cert: filepath.Join(t.TempDir(), "cert"), Key: filepath.Join(t.TempDir(), "key")}
	selfsigned.Write(t, cert, f.Cert, f.Key)
	return &visitors{t: t, files: []certs.File{f}, roots: selfsigned.Trust(cert)}
}

// proxy starts one more process with the keys.
func (v *visitors) proxy(keys ...command.TicketKey) *certs.Manager {
	v.t.Helper()
	m := manager(v.t, certs.Options{Files: v.files})
	if keys != nil {
		m.SetTicketKeys(keys)
	}
	return m
}

// visitor is a client that keeps its tickets.
func (v *visitors) visitor(version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: v.roots, ServerName: "a.test", MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
}

// end is one end of a connection in memory that takes writes before they are read,
// as sockets do and net.Pipe does not.
type end struct {
	net.Conn // only its addresses and deadlines
	in, out  chan []byte
	rest     []byte
}

func pipe() (net.Conn, net.Conn) {
	a, b := make(chan []byte, 100), make(chan []byte, 100)
	x, y := net.Pipe()
	return &end{Conn: x, in: a, out: b}, &end{Conn: y, in: b, out: a}
}

func (e *end) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		b, open := <-e.in
		if !open {
			return 0, io.EOF
		}
		e.rest = b
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func (e *end) Write(p []byte) (int, error) {
	e.out <- bytes.Clone(p)
	return len(p), nil
}

func (e *end) Close() error {
	close(e.out)
	return e.Conn.Close()
}

// resumes has the visitor connect and reports whether that resumed a session. It
// must succeed in any case.
func (v *visitors) resumes(server, client *tls.Config) bool {
	v.t.Helper()
	near, far := pipe()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(far, server)
		_, err := s.Write([]byte("ok"))
		_ = s.Close()
		done <- err
	}()
	c := tls.Client(near, client)
	b, err := io.ReadAll(c) // brings the ticket, too
	_ = c.Close()
	if serr := <-done; err != nil || serr != nil || string(b) != "ok" {
		v.t.Fatalf("handshake: %q %v, server: %v", b, err, serr)
	}
	return c.ConnectionState().DidResume
}

func ticketKey(id uint32, from time.Time) command.TicketKey {
	return command.TicketKey{ID: id, Key: bytes.Repeat([]byte{byte(id)}, 32), Created: from.Add(-12 * time.Hour), From: from, Until: from.Add(36 * time.Hour)}
}

// each runs f in a bubble of its own, for both versions of TLS.
func each(t *testing.T, f func(t *testing.T, v *visitors, version uint16)) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run("TLS "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, newVisitors(t), version) })
		})
	}
}

// Whichever process meets a visitor, and from whichever copy of the configuration
// it serves: the session is resumed.
func TestTicketsOpenEverywhere(t *testing.T) {
	each(t, func(t *testing.T, v *visitors, version uint16) {
		key := ticketKey(1, time.Now())
		c := v.visitor(version)
		one, two := v.proxy(key), v.proxy(key)
		if v.resumes(one.TLSConfig(), c) {
			t.Error("the first connection resumed something")
		}
		chosen := two.TLSConfig()
		for name, server := range map[string]*tls.Config{
			"the same proxy": one.TLSConfig(), "the other proxy": two.TLSConfig(), "a clone": two.TLSConfig().Clone(),
			"chosen for the client": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }},
		} {
			if !v.resumes(server, c) {
				t.Errorf("%s: not resumed", name)
			}
		}
		stranger := v.proxy(ticketKey(2, time.Now()))
		if v.resumes(stranger.TLSConfig(), c) {
			t.Error("resumed by a proxy with other keys")
		}
	})
}

// A new key is known before it seals, seals from its hour on, opens until its
// time is over, and then costs a visitor a full handshake and nothing else.
func TestTicketKeysAge(t *testing.T) {
	each(t, func(t *testing.T, v *visitors, version uint16) {
		start := time.Now()
		first, second := ticketKey(1, start), ticketKey(2, start.Add(12*time.Hour))
		ahead := v.proxy(second, first) // knows the next key
		behind := v.proxy(first)        // has not heard of it
		old := v.visitor(version)
		v.resumes(ahead.TLSConfig(), old)
		if !v.resumes(behind.TLSConfig(), old) {
			t.Error("the next key sealed before its time")
		}
		time.Sleep(12 * time.Hour)
		young := v.visitor(version)
		v.resumes(ahead.TLSConfig(), young)
		if v.resumes(v.proxy(first).TLSConfig(), young) {
			t.Error("the first key still seals")
		}
		time.Sleep(24*time.Hour - time.Second)
		late := v.proxy(second, first).TLSConfig()
		if !v.resumes(late, old) { // and gets a ticket of the second
			t.Error("the first key does not open in its third period")
		}
		lost := v.visitor(version)
		v.resumes(behind.TLSConfig(), lost) // sealed by the first, of necessity
		time.Sleep(time.Second)
		if v.resumes(ahead.TLSConfig(), lost) {
			t.Error("the first key opens after its time")
		}
		if !v.resumes(ahead.TLSConfig(), lost) {
			t.Error("the full handshake brought no ticket")
		}
		time.Sleep(12 * time.Hour)
		if v.resumes(ahead.TLSConfig(), lost) {
			t.Error("the second key opens after its time")
		}
		if !v.resumes(ahead.TLSConfig(), lost) {
			t.Error("a proxy whose keys are all over has none of its own")
		}
	})
}

// A ticket is for the host that it was handed out for (A6, CVE-2025-23419).
func TestTicketsAreForOneHost(t *testing.T) {
	each(t, func(t *testing.T, v *visitors, version uint16) {
		server := v.proxy(ticketKey(1, time.Now())).TLSConfig()
		c := v.visitor(version)
		c.ClientSessionCache = oneDrawer{c.ClientSessionCache}
		v.resumes(server, c)
		c.ServerName = "b.test"
		if v.resumes(server, c) {
			t.Error("b.test resumed a session of a.test")
		}
		c.ServerName = "B.test"
		if !v.resumes(server, c) {
			t.Error("the host in another spelling did not resume")
		}
	})
}

// oneDrawer keeps the tickets of all hosts in one place.
type oneDrawer struct{ tls.ClientSessionCache }

func (o oneDrawer) Get(string) (*tls.ClientSessionState, bool) { return o.ClientSessionCache.Get("") }

func (o oneDrawer) Put(_ string, s *tls.ClientSessionState) { o.ClientSessionCache.Put("", s) }

func TestNoTickets(t *testing.T) {
	each(t, func(t *testing.T, v *visitors, version uint16) {
		server := manager(t, certs.Options{Files: v.files, NoTickets: true}).TLSConfig()
		c := v.visitor(version)
		for range 2 {
			if v.resumes(server, c) {
				t.Error("resumed without tickets")
			}
		}
	})
}
