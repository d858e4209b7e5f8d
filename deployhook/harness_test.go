package deployhook_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
	"portico/tests/support/etcdtest"
)

func TestMain(m *testing.M) {
	etcdtest.Main()
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// cluster is a proxy's side of deploys, real but for the traffic, with agents
// that install and pretend to run.
type cluster struct {
	t       testing.TB
	dir     string
	name    string           // of the proxy
	outside *catalog.Outside // the etcd that several share; nil: one of its own
	catalog *catalog.Catalog
	objects *objects.Store
	*deployhook.Deployer
	url    string
	client *http.Client
	srv    *httptest.Server

	mu     sync.Mutex
	agents map[string]*agent
	load   map[string][2]int // instance to sessions and requests
	looked map[string]int    // how often the deployer asked for an instance's load
	dead   map[string]bool   // what gossip says
	unseen map[string]bool   // instances that the proxy's own checks have not seen
}

func openCatalog(t testing.TB, dir, name string, outside *catalog.Outside) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(context.Background(), catalog.Options{
		Dir: filepath.Join(dir, "catalog"), Name: name, Key: bytes.Repeat([]byte{7}, 32), Outside: outside,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCluster(t testing.TB, change ...func(*deployhook.Options)) *cluster {
	t.Helper()
	c := makeCluster(t)
	c.start(change...)
	t.Cleanup(c.stop)
	return c
}

func makeCluster(t testing.TB) *cluster {
	return &cluster{t: t, name: "proxy", dir: t.TempDir(), agents: map[string]*agent{}, load: map[string][2]int{}, looked: map[string]int{}, dead: map[string]bool{}, unseen: map[string]bool{}}
}

// start opens the proxy's side; after stop it is a restart on the same state.
func (c *cluster) start(change ...func(*deployhook.Options)) {
	c.t.Helper()
	c.catalog = openCatalog(c.t, c.dir, c.name, c.outside)
	var err error
	if c.objects, err = objects.Open(filepath.Join(c.dir, "objects")); err != nil {
		c.t.Fatal(err)
	}
	elders := c.catalog.View().Instances // older than this proxy, whose table of sessions is empty
	o := deployhook.Options{
		Catalog: c.catalog, Objects: c.objects, Dir: c.dir, Name: c.name,
		Actor: func(ctx context.Context) string { s, _ := ctx.Value(actorKey{}).(string); return s },
		Load: func(id string) (int, int, bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.looked[id]++
			return c.load[id][0], c.load[id][1], elders[id] == nil
		},
		InRotation: func(id string) bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.unseen[id] },
		Alive:      func(name string) bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.dead[name] },
	}
	for _, f := range change {
		f(&o)
	}
	if c.Deployer, err = deployhook.New(o); err != nil {
		c.t.Fatal(err)
	}
	c.Start()
	mux := http.NewServeMux()
	mux.Handle("PUT /v1/sites/{site}/archive", c.Archive())
	for pattern, h := range c.Members(c.identify) {
		mux.Handle(pattern, h)
	}
	c.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), actorKey{}, r.Header.Get("Account"))))
	}))
	c.url, c.client = c.srv.URL, c.srv.Client()
}

type actorKey struct{}

func (c *cluster) stop() {
	c.mu.Lock()
	agents := slices.Collect(maps.Values(c.agents))
	c.agents = map[string]*agent{}
	c.mu.Unlock()
	for _, a := range agents {
		a.stop()
	}
	if err := c.Close(); err != nil {
		c.t.Error(err)
	}
	c.client.CloseIdleConnections()
	c.srv.Close()
	if err := c.catalog.Close(); err != nil {
		c.t.Error(err)
	}
}

func (c *cluster) identify(r *http.Request) (catalog.Member, bool) {
	m := c.catalog.View().Members[r.Header.Get("Member")]
	if m == nil {
		return catalog.Member{}, false
	}
	return *m, true
}

// held is how many objects the proxy's store has.
func (c *cluster) held() int {
	c.t.Helper()
	list, err := filepath.Glob(filepath.Join(c.objects.Dir(), "??", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	return len(list)
}

// holds reports whether one of them is digest.
func (c *cluster) holds(digest string) bool {
	_, err := c.objects.Size(digest)
	return err == nil
}

func (c *cluster) update(change func(tx *catalog.Tx) error) {
	c.t.Helper()
	if _, err := c.catalog.Update(context.Background(), change); err != nil {
		c.t.Fatal(err)
	}
}

// accept makes a member without an agent.
func (c *cluster) accept(names ...string) {
	c.t.Helper()
	c.update(func(tx *catalog.Tx) error {
		for _, name := range names {
			m := catalog.Member{
				Name: name, ID: name, Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminReady,
				Addr: name + ":7444", Fingerprint: objects.Sum([]byte(name)), Knocked: time.Now().UTC(),
			}
			if err := tx.PutMember(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// answer is what an upload is told.
type answer struct {
	status int
	deployhook.ArchiveAnswer
	Error json.RawMessage `json:"error"`
	text  string
}

func (c *cluster) upload(site, query string, body io.Reader, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, c.url+"/v1/sites/"+site+"/archive?"+query, body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Account", "ann")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, text: string(b)}
	if err := json.Unmarshal(b, &a); err != nil {
		c.t.Fatalf("%d %s: %v", res.StatusCode, b, err)
	}
	return a
}

// deploy uploads files and demands that the deploy ends as wanted.
func (c *cluster) deploy(site string, files map[string]string, want catalog.DeployState) catalog.Deploy {
	c.t.Helper()
	a := c.upload(site, "", bytes.NewReader(zipped(c.t, files)))
	if a.status != http.StatusAccepted {
		c.t.Fatalf("the upload got %d: %s", a.status, a.text)
	}
	return c.ended(a.ID, want)
}

func (c *cluster) ended(id string, want catalog.DeployState) catalog.Deploy {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), waitTime)
	defer cancel()
	d, err := c.Wait(ctx, id)
	if err != nil || d.State != want {
		c.t.Fatalf("the deploy is %s, want %s; %v; %s; %+v", d.State, want, err, d.Error, d.Members)
	}
	return d
}

func (c *cluster) site(name string) catalog.Site {
	c.t.Helper()
	s := c.catalog.View().Sites[name]
	if s == nil {
		c.t.Fatalf("there is no site %s", name)
		return catalog.Site{}
	}
	return *s
}

// lookedAt waits until the deployer has asked a few times more for the load of an
// instance: what it did not do by then, it does not do.
func (c *cluster) lookedAt(instance string) {
	c.t.Helper()
	c.mu.Lock()
	from := c.looked[instance]
	c.mu.Unlock()
	c.eventually("the deployer looks at the instance", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.looked[instance] >= from+4
	})
}

// waitTime is how long a test waits for what must come: a bound on failures, long
// enough for a machine that does ten other things.
const waitTime = 60 * time.Second

// eventually waits until ok holds.
func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(waitTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("never came: %s", what)
		}
	}
}

func zippedReader(t testing.TB, files map[string]string) io.Reader {
	return bytes.NewReader(zipped(t, files))
}

func zipped(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// agent does what an agent does, without processes: it asks, fetches, reports.
type agent struct {
	c       *cluster
	name    string
	store   *objects.Store
	client  *http.Client
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	fetched atomic.Int64 // bytes of objects

	mu      sync.Mutex
	run     map[string]*messages.InstanceReport // by site/release
	sick    map[string]bool                     // releases that do not get healthy
	stuck   bool                                // it stays at starting
	befores []string                            // releases whose before command it ran
	sources []*cluster                          // where objects are fetched; nil: from its own proxy
}

// join accepts a member and starts its agent.
func (c *cluster) join(names ...string) {
	c.t.Helper()
	c.accept(names...)
	for _, name := range names {
		c.startAgent(name)
	}
}

func (c *cluster) startAgent(name string) *agent {
	c.t.Helper()
	store, err := objects.Open(filepath.Join(c.dir, "agent-"+name))
	if err != nil {
		c.t.Fatal(err)
	}
	a := &agent{c: c, name: name, store: store, run: map[string]*messages.InstanceReport{}, sick: map[string]bool{}}
	a.client = &http.Client{Transport: asPeer{"Member", name, c.srv.Client().Transport}}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	c.mu.Lock()
	c.agents[name] = a
	c.mu.Unlock()
	a.wg.Go(func() { a.loop(ctx) })
	return a
}

func (c *cluster) agent(name string) *agent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[name]
}

// asPeer stands for a certificate: a header field names the member who asks, or the
// server that is asked.
type asPeer struct {
	field, name string
	next        http.RoundTripper
}

func (p asPeer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(p.field, p.name)
	return p.next.RoundTrip(r)
}

func (a *agent) stop() { a.cancel(); a.wg.Wait() }

func (a *agent) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

func (a *agent) loop(ctx context.Context) {
	var rev int64
	for ctx.Err() == nil {
		var w messages.Wanted
		if err := a.get(ctx, fmt.Sprintf("%s/v1/agent/wanted?after=%d&wait=200ms", a.c.url, rev), &w); err != nil {
			if ctx.Err() == nil {
				a.c.t.Errorf("%s: wanted: %v", a.name, err)
			}
			return
		}
		rev = w.Revision
		for _, r := range w.Releases {
			a.converge(ctx, r)
		}
		if stop := a.report(ctx, rev); len(stop) > 0 {
			a.mu.Lock()
			maps.DeleteFunc(a.run, func(_ string, in *messages.InstanceReport) bool { return slices.Contains(stop, in.ID) })
			a.mu.Unlock()
			a.report(ctx, rev)
		}
	}
}

// converge installs what is wanted and not there.
func (a *agent) converge(ctx context.Context, r messages.WantedRelease) {
	key := r.Site + "/" + r.Release
	a.mu.Lock()
	in := a.run[key]
	fresh := in == nil && r.Duty != messages.DutyRetiring
	if in != nil && in.Progress.Step == catalog.StepFailed && in.Deploy != r.Deploy && r.Duty == messages.DutyCandidate {
		fresh = true
	}
	a.mu.Unlock()
	if !fresh {
		return
	}
	next := &messages.InstanceReport{Deploy: r.Deploy, Instance: catalog.Instance{Site: r.Site, Release: r.Release, Member: a.name}}
	next.Progress.Step = catalog.StepFetching
	f := objects.Fetcher{Store: a.store, Sources: []objects.Source{{Name: "proxy", URL: a.c.url, Client: a.client}}}
	a.mu.Lock()
	more := slices.Clone(a.sources)
	a.mu.Unlock()
	for _, c := range more {
		f.Sources = append(f.Sources, objects.Source{Name: c.name, URL: c.url, Client: a.client})
	}
	var last int64
	_, err := f.Release(ctx, ids.FilesOf(r.Release), func(done, _ int64) { last = done })
	a.fetched.Add(last)
	if err != nil {
		next.Progress = catalog.MemberProgress{Step: catalog.StepFailed, Detail: err.Error()}
	} else {
		a.begin(next, r)
	}
	a.mu.Lock()
	a.run[key] = next
	a.mu.Unlock()
}

func (a *agent) begin(next *messages.InstanceReport, r messages.WantedRelease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Before {
		a.befores = append(a.befores, r.Release)
	}
	next.ID, next.Started = ids.NewInstance(), time.Now().UTC()
	next.State, next.Progress.Step = catalog.InstanceHealthy, catalog.StepHealthy
	if a.sick[r.Release] || a.sick["*"] {
		next.State = catalog.InstanceExited // as agents tell a candidate that has failed
		next.Progress = catalog.MemberProgress{
			Step: catalog.StepFailed, Detail: "the check failed 3 times", Log: []string{"panic: no database"},
			Probe: &catalog.Probe{Code: "L7STS", Status: 500, Body: "oops", At: time.Now().UTC()},
		}
	}
	if a.stuck {
		next.State, next.Progress.Step = catalog.InstanceStarting, catalog.StepStarting
	}
}

func (a *agent) report(ctx context.Context, rev int64) (stop []string) {
	report := messages.Report{Revision: rev, Version: "1.0.0"}
	a.mu.Lock()
	for _, key := range slices.Sorted(maps.Keys(a.run)) {
		report.Instances = append(report.Instances, *a.run[key])
	}
	a.mu.Unlock()
	b, err := json.Marshal(report)
	if err != nil {
		a.c.t.Error(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.c.url+"/v1/agent/report", bytes.NewReader(b))
	if err != nil {
		a.c.t.Error(err)
		return nil
	}
	res, err := a.client.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var answer deployhook.ReportAnswer
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil && ctx.Err() == nil {
		a.c.t.Errorf("%s: report: %s, %v", a.name, res.Status, err)
	}
	return answer.StopOK
}

// running returns the releases of a site that the agent runs healthily.
func (a *agent) running(site string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	for _, in := range a.run {
		if in.Site == site && in.State == catalog.InstanceHealthy {
			list = append(list, in.Release)
		}
	}
	slices.Sort(list)
	return list
}

func (a *agent) change(f func(*agent)) { a.mu.Lock(); defer a.mu.Unlock(); f(a) }

// instanceOf returns the id of the instance of a release at a member.
func (c *cluster) instanceOf(member, release string) string {
	for id, in := range c.catalog.View().Instances {
		if in.Member == member && in.Release == release {
			return id
		}
	}
	return ""
}
