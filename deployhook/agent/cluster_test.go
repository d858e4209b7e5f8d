package agent_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// waitTime is how long a test waits for what must come; it passes as soon as it
// is there.
const waitTime = 60 * time.Second

// cluster plays the proxies: it says what is wanted, serves objects and hears
// reports.
type cluster struct {
	t     *testing.T
	ca    *authority
	store *objects.Store
	srv   *httptest.Server

	mu      sync.Mutex
	wanted  messages.Wanted
	changed chan struct{} // closed and replaced with each change
	reports []messages.Report
	heard   chan struct{} // closed and replaced with each report
	stopOK  bool          // every instance may stop at once
	others  []string      // proxies of which it says so too
	down    bool          // answers nothing but errors
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterOf(t, newAuthority(t))
}

// newClusterOf is a proxy of the cluster with that authority.
func newClusterOf(t *testing.T, ca *authority) *cluster {
	t.Helper()
	store, err := objects.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, ca: ca, store: store, stopOK: true,
		wanted:  messages.Wanted{Revision: 1, Cluster: "c1"},
		changed: make(chan struct{}), heard: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/agent/wanted", c.serveWanted)
	mux.HandleFunc("POST /v1/agent/report", c.serveReport)
	mux.Handle("/v1/objects/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { store.Serve(w, r, nil) }))
	c.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		down := c.down
		c.mu.Unlock()
		if down {
			http.Error(w, "no quorum", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	c.srv.TLS = c.ca.server(t, "proxy")
	c.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	c.srv.StartTLS()
	t.Cleanup(func() {
		c.srv.CloseClientConnections()
		c.srv.Close()
	})
	return c
}

func (c *cluster) serveWanted(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
	timeout := time.After(10 * time.Second)
	for {
		c.mu.Lock()
		wanted, changed := c.wanted, c.changed
		c.mu.Unlock()
		if wanted.Revision != after {
			_ = json.NewEncoder(w).Encode(wanted)
			return
		}
		select {
		case <-changed:
		case <-timeout:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (c *cluster) serveReport(w http.ResponseWriter, r *http.Request) {
	var rep messages.Report
	if err := json.NewDecoder(r.Body).Decode(&rep); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := map[string]any{}
	c.mu.Lock()
	c.reports = append(c.reports, rep)
	close(c.heard)
	c.heard = make(chan struct{})
	if c.stopOK {
		var free []string
		for _, i := range rep.Instances {
			free = append(free, i.ID)
		}
		answer["stop_ok"] = free
		others := map[string][]string{}
		for _, name := range c.others {
			others[name] = free
		}
		answer["others"] = others
	}
	c.mu.Unlock()
	_ = json.NewEncoder(w).Encode(answer)
}

func (c *cluster) peer() messages.Peer {
	return messages.Peer{Name: "proxy1", Addr: c.srv.Listener.Addr().String()}
}

// want publishes what agents should run.
func (c *cluster) want(releases ...messages.WantedRelease) {
	c.update(func(w *messages.Wanted) { w.Releases = releases })
}

func (c *cluster) update(change func(*messages.Wanted)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.wanted
	w.Revision++
	w.Proxies = []messages.Peer{c.peer()}
	change(&w)
	c.wanted = w
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns the first report from now on, or the last one before, of which
// ok holds.
func (c *cluster) await(what string, ok func(messages.Report) bool) messages.Report {
	c.t.Helper()
	deadline := time.After(waitTime)
	c.mu.Lock()
	next := max(0, len(c.reports)-1)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		list, heard := c.reports[min(next, len(c.reports)):], c.heard
		c.mu.Unlock()
		for _, r := range list {
			next++
			if ok(r) {
				return r
			}
		}
		select {
		case <-heard:
		case <-deadline:
			b, _ := json.MarshalIndent(list, "", "  ")
			c.t.Fatalf("no report says: %s; the last: %s", what, b)
		}
	}
}

// awaitInstance waits for an instance of a release of which ok holds.
func (c *cluster) awaitInstance(what, release string, ok func(messages.InstanceReport) bool) messages.InstanceReport {
	c.t.Helper()
	var found messages.InstanceReport
	c.await(what, func(r messages.Report) bool {
		for _, i := range r.Instances {
			if i.Release == release && ok(i) {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

func (c *cluster) awaitHealthy(release string) messages.InstanceReport {
	c.t.Helper()
	return c.awaitInstance("healthy", release, func(i messages.InstanceReport) bool { return i.State == catalog.InstanceHealthy })
}

// release puts files into the cluster and returns the release's digest. Names
// that end in "*" are executable.
func (c *cluster) release(files map[string]string) string {
	c.t.Helper()
	var list []objects.File
	batch := c.store.NewBatch()
	defer batch.Close()
	for name, content := range files {
		name, exec := strings.CutSuffix(name, "*")
		digest, size, err := batch.Add(strings.NewReader(content))
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, objects.File{Path: name, Exec: exec, Size: size, Digest: digest})
	}
	if err := batch.Commit(); err != nil {
		c.t.Fatal(err)
	}
	tree, err := objects.NewTree(list, archive.Limits{})
	if err != nil {
		c.t.Fatal(err)
	}
	digest, err := c.store.PutTree(tree)
	if err != nil {
		c.t.Fatal(err)
	}
	return digest
}

// serverRelease is a release with the test's server in it.
func (c *cluster) serverRelease(version string) string {
	c.t.Helper()
	b, err := os.ReadFile(serverBinary)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.release(map[string]string{"server*": string(b), "version.txt": version})
}

// runSettings are those of a site that runs the test's server, fast to check.
func runSettings(args ...string) sites.Settings {
	s := sites.Settings{
		Kind: sites.KindRun, Front: sites.Front{Path: "/"}, Run: append([]string{"./server"}, args...),
		Env: map[string]string{"VERSION": "1"},
	}.WithDefaults("shop")
	s.Health.Interval = units.Duration(100 * time.Millisecond)
	s.Health.Timeout = units.Duration(20 * time.Second) // a busy machine is no reason to take an instance for sick
	s.Deploy.Grace = units.Duration(10 * time.Second)
	return s
}

func current(site, release string, s sites.Settings) messages.WantedRelease {
	return messages.WantedRelease{Site: site, Release: release, Duty: messages.DutyCurrent, Settings: s}
}

func candidate(site, release string, s sites.Settings, deploy string) messages.WantedRelease {
	return messages.WantedRelease{Site: site, Release: release, Duty: messages.DutyCandidate, Settings: s, Deploy: deploy}
}

// options are those of an agent of this cluster.
func (c *cluster) options(dir string) agent.Options {
	o := agent.Options{
		Dir: dir, Name: "app1", Version: "test", Logger: testLogger(c.t), Cluster: "c1",
		Listen: "127.0.0.1:0", ServerTLS: c.ca.server(c.t, "app1"),
		ClientTLS: func(catalog.Role, string) *tls.Config { return c.ca.client(c.t, "app1") },
		Proxies:   []messages.Peer{c.peer()},
	}
	o.SetStopWait(time.Second)
	return o
}

// start runs an agent in this process until the test ends.
func (c *cluster) start(o agent.Options) *agent.Agent {
	c.t.Helper()
	a, stop := c.startStop(o)
	c.t.Cleanup(stop)
	return a
}

// startStop is start for tests that stop the agent themselves. stop may be
// called twice.
func (c *cluster) startStop(o agent.Options) (*agent.Agent, func()) {
	c.t.Helper()
	a, err := agent.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := a.Listen(); err != nil {
		c.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(context.Background()) }()
	return a, sync.OnceFunc(func() {
		<-a.Resumed()
		ctx, cancel := context.WithTimeout(context.Background(), waitTime)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			c.t.Error(err)
		}
		if err := <-served; err != nil {
			c.t.Error(err)
		}
	})
}

// via returns a client whose connections reach one server name of an agent.
func (c *cluster) via(addr net.Addr, name string) *http.Client {
	config := c.ca.client(c.t, "proxy1")
	config.ServerName = name
	tr := &http.Transport{
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr.String())
		},
	}
	c.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: waitTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func get(t *testing.T, client *http.Client, path string) string {
	t.Helper()
	code, body := getCode(t, client, path)
	if code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, code, body)
	}
	return body
}

func getCode(t *testing.T, client *http.Client, path string) (int, string) {
	t.Helper()
	res, err := client.Get("https://shop.example" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// eventually waits until ok holds; it is for what no message announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitTime)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, waitTime)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// testLogger writes to the test's log, and no more after the test has ended.
func testLogger(t *testing.T) *slog.Logger {
	w := &logWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t = nil
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct {
	mu sync.Mutex
	t  *testing.T
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Log(string(bytes.TrimSpace(p)))
	}
	return len(p), nil
}

// authority issues the certificates of a test's cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"objects", "agent", "*.instance"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) server(t *testing.T, name string) *tls.Config {
	t.Helper()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(t, name)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
	}
}

func (a *authority) client(t *testing.T, name string) *tls.Config {
	t.Helper()
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.pool, Certificates: []tls.Certificate{a.issue(t, name)}}
}

// identify names the peer by its common name; those that begin with "proxy" are
// proxies, those in refuse are not accepted.
func identify(refuse func(name string) bool) func(tls.ConnectionState) (catalog.Role, string, error) {
	return func(cs tls.ConnectionState) (catalog.Role, string, error) {
		name := cs.PeerCertificates[0].Subject.CommonName
		if refuse != nil && refuse(name) {
			return "", name, errors.New("revoked")
		}
		if strings.HasPrefix(name, "proxy") {
			return catalog.RoleProxy, name, nil
		}
		return catalog.RoleServer, name, nil
	}
}
