package certs_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/certs"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/tests/support/freeport"
	"portico/tests/support/pebble"
	"portico/tests/support/selfsigned"
)

// between stands before an ACME directory: it can be down, hold orders back, and counts.
type between struct {
	url  string
	root []byte

	mu       sync.Mutex
	down     bool
	requests int
	gate     chan struct{} // orders wait until it is closed; nil: they do not
	waiting  int
	most     int // orders that waited at a time
}

func standBefore(t *testing.T, p *pebble.Server) *between {
	t.Helper()
	target, err := url.Parse(p.Directory)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.Root)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	relay := &httputil.ReverseProxy{
		Transport: transport, ErrorLog: discard(),
		Rewrite: func(r *httputil.ProxyRequest) { // the host stays, so that every URL leads here
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", target.Host, r.In.Host
		},
	}
	b := &between{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.requests++
		down, gate := b.down, b.gate
		order := gate != nil && strings.Contains(r.URL.Path, "order-plz")
		if order {
			b.waiting++
			b.most = max(b.most, b.waiting)
		}
		b.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		if order {
			select {
			case <-gate:
			case <-r.Context().Done():
			}
			b.mu.Lock()
			b.waiting--
			b.mu.Unlock()
		}
		relay.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = discard()
	s.StartTLS()
	t.Cleanup(s.Close)
	b.url = s.URL + target.Path
	b.root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return b
}

func (b *between) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// asked returns how many requests came since the last call.
func (b *between) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.requests
	b.requests = 0
	return n
}

// TestFewAtATime: many hosts that appear at once are asked for a few at a time, so that one deploy
// does not use up what a directory grants; in the end all have their certificate (A3).
func TestFewAtATime(t *testing.T) {
	port := freeport.Get(t)
	p := pebble.Start(t, freeport.Get(t), port)
	b := standBefore(t, p)
	b.gate = make(chan struct{})
	secure := listen(t, port)
	m := manager(t, certs.Options{Catalog: openCatalog(t, t.TempDir()), Directory: b.url, Root: b.root, TLSPort: port})
	serve(t, tls.NewListener(secure, m.TLSConfig()), http.NotFoundHandler())
	var hosts []string
	for i := range 9 {
		hosts = append(hosts, fmt.Sprintf("host%d.%s", i, testHost))
	}
	v := site("shop", sites.TLS{}, hosts...)
	m.Sync(v)
	m.Sync(v) // a view that says the same asks for nothing more
	waiting := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.waiting
	}
	eventually(t, "four orders wait", func() bool { return waiting() == 4 })
	for range 20 { // visitors do not bring more of them about
		_, _ = leafOf(t, secure.Addr().String(), hosts[8])
	}
	close(b.gate)
	for _, host := range hosts {
		eventually(t, "the certificate of "+host+" is there", func() bool { return m.HasCertificate(host) })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.most != 4 {
		t.Errorf("%d orders were under way at a time, want 4", b.most)
	}
}

// TestDirectoryComesAndGoes: while the directory is away what there is stays in use, without asking
// over and over; when it is back, renewal goes on. A clock that jumped changes nothing of that: a certificate
// that is not valid yet, or not any more, by this machine's clock is served all the same (A4).
func TestDirectoryComesAndGoes(t *testing.T) {
	port := freeport.Get(t)
	p := pebble.Start(t, freeport.Get(t), port)
	b := standBefore(t, p)
	dir := t.TempDir()
	c := openCatalog(t, dir)
	secure := listen(t, port)
	addr := secure.Addr().String()
	o := certs.Options{Catalog: c, Directory: b.url, Root: b.root, TLSPort: port}
	m := manager(t, o)
	var mu sync.Mutex
	now := m // the manager of the moment
	serve(t, tls.NewListener(secure, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		return now.TLSConfig(), nil
	}}), http.NotFoundHandler())
	v := site("shop", sites.TLS{}, testHost)
	m.Sync(v)
	eventually(t, "the certificate is there", func() bool { return m.HasCertificate(testHost) })
	first, err := leafOf(t, addr, testHost)
	if err != nil {
		t.Fatal(err)
	}

	b.setDown(true)
	if err := m.Renew(t.Context(), testHost); err == nil {
		t.Error("renewed by nobody")
	}
	if leaf, err := leafOf(t, addr, testHost); err != nil || leaf.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("while the directory is away: %v", err)
	}
	b.setDown(false)
	if err := m.Renew(t.Context(), testHost); err != nil {
		t.Fatal("the directory is back, and renewal fails: ", err)
	}
	if leaf, err := leafOf(t, addr, testHost); err != nil || leaf.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("after the directory came back: %v", err)
	}

	b.setDown(true)
	for what, valid := range map[string][2]time.Duration{
		"clock 48 hours behind":              {48 * time.Hour, 90 * 24 * time.Hour},
		"clock 26 hours past the end of one": {-90 * 24 * time.Hour, -26 * time.Hour},
	} {
		serial := storePair(t, c, valid[0], valid[1])
		m.Close()
		b.asked()
		m = manager(t, o)
		mu.Lock()
		now = m
		mu.Unlock()
		m.Sync(v)
		eventually(t, what+": it is served", func() bool {
			leaf, err := leafOf(t, addr, testHost)
			return err == nil && leaf.SerialNumber.Cmp(serial) == 0
		})
		if valid[1] < 0 {
			eventually(t, what+": the failure shows", func() bool { return m.Status()[0].Error != "" && !m.Status()[0].Next.IsZero() })
			if wait := time.Until(m.Status()[0].Next); wait < 30*time.Second {
				t.Errorf("%s: the next attempt is in %v", what, wait)
			}
		}
		for range 50 {
			if leaf, err := leafOf(t, addr, testHost); err != nil || leaf.SerialNumber.Cmp(serial) != 0 {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if n := b.asked(); n > 40 {
			t.Errorf("%s: the directory was asked %d times", what, n)
		}
	}
}

// storePair puts another certificate in the place of testHost's, valid from and until so long from now.
func storePair(t *testing.T, c *catalog.Catalog, from, until time.Duration) *big.Int {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	crt, pkey := selfsigned.Encode(t, selfsigned.Sign(t, &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{testHost}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
	}))
	store := c.Storage()
	keys, err := store.List(t.Context(), "certificates", true)
	if err != nil {
		t.Fatal(err)
	}
	put := 0
	for _, k := range keys {
		for ext, data := range map[string][]byte{".crt": crt, ".key": pkey} {
			if strings.HasSuffix(k, "/"+testHost+ext) {
				put++
				if err := store.Put(t.Context(), k, data); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if put != 2 {
		t.Fatalf("the catalog has %v", keys)
	}
	return serial
}
