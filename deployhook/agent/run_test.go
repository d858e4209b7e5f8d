package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/tests/support/written"
)

type siteEnv struct {
	Env    []string
	Args   []string
	Dir    string
	UID    int
	Status string
	Limits string
}

func (e siteEnv) value(name string) string {
	for _, v := range e.Env {
		if s, ok := strings.CutPrefix(v, name+"="); ok {
			return s
		}
	}
	return ""
}

func readEnv(t *testing.T, client *http.Client) siteEnv {
	t.Helper()
	var e siteEnv
	if err := json.Unmarshal([]byte(get(t, client, "/env")), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestRun is the whole walk of one release: fetched, assembled, started, healthy,
// reached through the listener, and gone when it is not wanted any more.
func TestRun(t *testing.T) {
	t.Setenv("PORTICO_TOKEN", "secret-of-the-agent")
	t.Setenv("AWS_SECRET", "secret-of-the-agent")
	c := newCluster(t)
	dir := t.TempDir()
	a := c.start(c.options(dir))
	rel := c.serverRelease("1")
	s := runSettings("-port", "$PORT", "--", "${VERSION}", "$$5")
	s.Env["PORTICO_INSTANCE"] = "forged"
	c.want(current("shop", rel, s))
	inst := c.awaitHealthy(rel)
	if inst.Member != "app1" || inst.Progress.Step != catalog.StepHealthy || inst.Progress.Probe == nil || inst.Progress.Probe.Code != "L7OK" {
		t.Errorf("report is %+v", inst)
	}
	client := c.via(a.Addr(), inst.ID+".instance")
	if body := get(t, client, "/"); !strings.HasPrefix(body, inst.ID+" 1 ") {
		t.Errorf("the instance says %q", body)
	}
	e := readEnv(t, client)
	want := filepath.Join(dir, "sites", "shop", "releases", rel)
	if e.Dir != want {
		t.Errorf("the process runs in %s, not in the resolved %s", e.Dir, want)
	}
	if e.value("PORTICO_SITE") != "shop" || e.value("PORTICO_RELEASE") != rel || e.value("PORTICO_INSTANCE") != inst.ID ||
		e.value("PORTICO_DATA_DIR") != filepath.Join(dir, "sites", "shop", "data") || e.value("VERSION") != "1" || e.value("PORT") == "" {
		t.Errorf("environment is %q", e.Env)
	}
	if e.value("PORT") != strconv.Itoa(inst.Port) {
		t.Errorf("the report has port %d, the process %s", inst.Port, e.value("PORT"))
	}
	if got := e.Args[2:]; !slices.Equal(got, []string{e.value("PORT"), "--", "1", "$5"}) {
		t.Errorf("arguments are %q", got)
	}
	if text := strings.Join(e.Env, "\n"); strings.Contains(text, "secret-of-the-agent") {
		t.Errorf("G2: the agent's environment is in the site's: %s", text)
	}
	if !strings.HasPrefix(e.value("TMPDIR"), filepath.Join(dir, "sites", "shop")) || !strings.HasPrefix(e.value("HOME"), filepath.Join(dir, "sites", "shop")) {
		t.Errorf("temporary folder and home are not the site's own: %q", e.Env)
	}
	pid := pidOf(t, get(t, client, "/"))
	c.want()
	c.await("no instance left", func(r messages.Report) bool { return len(r.Instances) == 0 })
	if running(pid) {
		t.Error("the process runs on")
	}
	eventually(t, "release folder removed", func() bool {
		_, err := os.Stat(want)
		return os.IsNotExist(err)
	})
	if _, err := os.Stat(filepath.Join(dir, "sites", "shop", "data")); err != nil {
		t.Errorf("data is gone: %v", err)
	}
}

// TestExit: an instance that ends is told at once, with its id, and the next
// start is another instance.
func TestExit(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	first := c.awaitHealthy(rel)
	client := c.via(a.Addr(), first.ID+".instance")
	if _, err := client.Get("https://shop.example/exit?code=4"); err == nil {
		t.Error("the request that ended the process was answered")
	}
	var second string
	ended := c.awaitInstance("ended", rel, func(i messages.InstanceReport) bool { return i.State == catalog.InstanceExited })
	if ended.ID != first.ID || !strings.Contains(ended.Detail, "exit status 4") {
		t.Errorf("ended: %+v", ended)
	}
	again := c.awaitInstance("healthy again", rel, func(i messages.InstanceReport) bool {
		second = i.ID
		return i.State == catalog.InstanceHealthy && i.ID != first.ID
	})
	if again.ID != second {
		t.Error("another instance")
	}
	c.await("the ended one is forgotten", func(r messages.Report) bool {
		return !slices.ContainsFunc(r.Instances, func(i messages.InstanceReport) bool { return i.ID == first.ID })
	})
	if _, err := client.Get("https://shop.example/"); err == nil {
		t.Error("the former instance's name still reaches something")
	}
}

// TestFailedCandidate: a candidate that fails is told with its last check and its
// log, is stopped, and the release beside it does not notice.
func TestFailedCandidate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		probe string // code of the last check; "" none is asked for
		want  []string
	}{
		{"ends", []string{"-fail"}, "", []string{"exit status 3", "before it was healthy"}},
		{"sick", []string{"-sick"}, "L7STS", []string{"deploy.timeout", "status 503"}},
		{"wrong port", []string{"-port", "0"}, "L4CON", []string{"deploy.timeout", "connection refused"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			a := c.start(c.options(t.TempDir()))
			good, bad := c.serverRelease("1"), c.serverRelease("2")
			c.want(current("shop", good, runSettings()))
			inst := c.awaitHealthy(good)
			client := c.via(a.Addr(), inst.ID+".instance")
			s := runSettings(tt.args...)
			s.Deploy.Timeout = units.Duration(5 * time.Second) // in which a busy machine makes a check
			if tt.probe == "" {
				s.Deploy.Timeout = units.Duration(waitTime)
			}
			c.want(current("shop", good, runSettings()), candidate("shop", bad, s, "d1"))
			failed := c.awaitInstance("failed", bad, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
			for _, w := range tt.want {
				if !strings.Contains(failed.Progress.Detail, w) {
					t.Errorf("detail is %q, %q is missing", failed.Progress.Detail, w)
				}
			}
			if p := failed.Progress.Probe; tt.probe != "" && (p == nil || p.Code != tt.probe || p.OK) {
				t.Errorf("T26: the last check is %+v, want %s", p, tt.probe)
			}
			if tt.probe == "L7STS" && !strings.Contains(failed.Progress.Probe.Body, "database is away") {
				t.Errorf("T26: the start of the body is %q", failed.Progress.Probe.Body)
			}
			if !strings.Contains(strings.Join(failed.Progress.Log, "\n"), "starting") {
				t.Errorf("T26: the tail of the log is %q", failed.Progress.Log)
			}
			if failed.Deploy != "d1" || failed.State != catalog.InstanceExited {
				t.Errorf("report is %+v", failed)
			}
			if body := get(t, client, "/"); !strings.HasPrefix(body, inst.ID) {
				t.Errorf("the running release says %q", body)
			}
			// The same release again, in a new deploy and with better settings.
			c.want(current("shop", good, runSettings()), candidate("shop", bad, runSettings(), "d2"))
			if ok := c.awaitHealthy(bad); ok.Deploy != "d2" || ok.ID == failed.ID {
				t.Errorf("second attempt is %+v", ok)
			}
		})
	}
}

// TestRetiring: a former release keeps running, and is not started again when it
// ends.
func TestRetiring(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	old, now := c.serverRelease("1"), c.serverRelease("2")
	c.want(current("shop", old, runSettings()))
	first := c.awaitHealthy(old)
	retiring := current("shop", old, runSettings())
	retiring.Duty = messages.DutyRetiring
	c.want(current("shop", now, runSettings()), retiring)
	c.awaitHealthy(now)
	client := c.via(a.Addr(), first.ID+".instance")
	if body := get(t, client, "/"); !strings.HasPrefix(body, first.ID) {
		t.Errorf("the former release says %q", body)
	}
	_, _ = client.Get("https://shop.example/exit?code=0")
	ended := c.awaitInstance("stopped", old, func(i messages.InstanceReport) bool { return i.State == catalog.InstanceExited })
	if ended.ID != first.ID {
		t.Errorf("ended: %+v", ended)
	}
	// A change that makes the agent look again must not start it either.
	c.want(current("shop", now, runSettings()), retiring)
	c.await("only the new release runs", func(r messages.Report) bool {
		return !slices.ContainsFunc(r.Instances, func(i messages.InstanceReport) bool {
			return i.Release == old && i.State != catalog.InstanceExited
		})
	})
}

// TestStopWaitsForProxies: an instance that is not wanted any more runs until
// the proxies say that it is empty (T33).
func TestStopWaitsForProxies(t *testing.T) {
	c := newCluster(t)
	c.stopOK = false
	o := c.options(t.TempDir())
	o.SetStopWait(waitTime)
	a := c.start(o)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	inst := c.awaitHealthy(rel)
	client := c.via(a.Addr(), inst.ID+".instance")
	c.want()
	c.awaitInstance("asks to stop", rel, func(i messages.InstanceReport) bool {
		return i.Progress.Step == catalog.StepStopped && i.State == catalog.InstanceHealthy
	})
	if body := get(t, client, "/"); !strings.HasPrefix(body, inst.ID) {
		t.Errorf("the instance says %q while proxies still need it", body)
	}
	c.mu.Lock()
	c.stopOK = true
	c.mu.Unlock()
	c.await("stopped", func(r messages.Report) bool { return len(r.Instances) == 0 })
}

// TestWantedAgain: a release that is wanted once more while its instance waits for the proxies' word
// keeps that instance, as when somebody rolls back a moment after a deploy (the proxies need it, so that
// they would never say the word).
func TestWantedAgain(t *testing.T) {
	c := newCluster(t)
	c.stopOK = false
	a := c.start(c.options(t.TempDir()))
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	inst := c.awaitHealthy(rel)
	client := c.via(a.Addr(), inst.ID+".instance")
	c.want()
	c.awaitInstance("asks to stop", rel, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepStopped })
	again := current("shop", rel, runSettings())
	again.Deploy = "back"
	c.want(again)
	c.awaitInstance("goes on", rel, func(i messages.InstanceReport) bool {
		return i.ID == inst.ID && i.Deploy == "back" && i.Progress.Step == catalog.StepHealthy
	})
	if body := get(t, client, "/"); !strings.HasPrefix(body, inst.ID) {
		t.Errorf("the instance says %q", body)
	}
	c.mu.Lock()
	c.stopOK = true
	c.mu.Unlock()
	c.want()
	c.await("stopped", func(r messages.Report) bool { return len(r.Instances) == 0 })
}

// TestQuestionChanges: an instance whose health is judged otherwise from now on is asked at once, and its report says which question the
// word is about. What it said to the one before speaks neither for nor against it.
func TestQuestionChanges(t *testing.T) {
	c := newCluster(t)
	c.start(c.options(t.TempDir()))
	rel := c.serverRelease("1")
	s := runSettings()
	s.Health.Interval = units.Duration(time.Hour)
	c.want(current("shop", rel, s))
	before := s.Question()
	c.awaitInstance("healthy", rel, func(i messages.InstanceReport) bool {
		return i.State == catalog.InstanceHealthy && i.Progress.Probe.OK && i.Progress.Probe.Asked == before
	})
	s.Health.Body = "what it never says"
	c.want(current("shop", rel, s))
	c.awaitInstance("asked anew", rel, func(i messages.InstanceReport) bool {
		return i.State == catalog.InstanceHealthy && !i.Progress.Probe.OK && i.Progress.Probe.Asked == s.Question()
	})
	s.Health.Interval = units.Duration(100 * time.Millisecond)
	s.Health.Body = "nor this"
	c.want(current("shop", rel, s))
	c.awaitInstance("failing", rel, func(i messages.InstanceReport) bool {
		return i.State == catalog.InstanceFailing && i.Progress.Probe.Asked == s.Question()
	})
}

// TestCrashLoop: a release that keeps ending is started ever more slowly and
// marked (G3).
func TestCrashLoop(t *testing.T) {
	c := newCluster(t)
	o, log := c.options(t.TempDir()), &written.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	c.start(o)
	rel := c.serverRelease("1")
	began := time.Now()
	c.want(current("shop", rel, runSettings("-fail")))
	i := c.awaitInstance("crash loop", rel, func(i messages.InstanceReport) bool { return strings.Contains(i.Detail, "crash loop") })
	if i.State != catalog.InstanceFailing || i.Progress.Step != catalog.StepFailed {
		t.Errorf("report is %+v", i)
	}
	if !strings.Contains(strings.Join(i.Progress.Log, "\n"), "cannot open the database") {
		t.Errorf("log is %q", i.Progress.Log)
	}
	c.mu.Lock()
	starts := make(map[string]bool)
	for _, r := range c.reports {
		for _, i := range r.Instances {
			if i.State == catalog.InstanceExited {
				starts[i.ID] = true
			}
		}
	}
	c.mu.Unlock()
	if limit := 4 + int(time.Since(began)/(400*time.Millisecond)); len(starts) > limit {
		t.Errorf("G3: %d starts in %v", len(starts), time.Since(began))
	}
	// Each line of the log says which end it is and when the next try comes.
	for _, want := range []string{`attempt=1 again=100ms`, `attempt=2 again=200ms`, `attempt=3 again=400ms`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

// TestDeaf: a process that ignores SIGTERM, and one that it has put into another
// session, are gone after the grace.
func TestDeaf(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("processes in other sessions are found through /proc only")
	}
	c := newCluster(t)
	dir := t.TempDir()
	a := c.start(c.options(dir))
	rel := c.serverRelease("1")
	s := runSettings("-deaf", "-child")
	s.Deploy.Grace = units.Duration(100 * time.Millisecond)
	c.want(current("shop", rel, s))
	inst := c.awaitHealthy(rel)
	pid := pidOf(t, get(t, c.via(a.Addr(), inst.ID+".instance"), "/"))
	b, err := os.ReadFile(filepath.Join(dir, "sites", "shop", "log", inst.ID+".log"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "child ")
	if !ok {
		t.Fatalf("log is %q", b)
	}
	kid, _ := strconv.Atoi(strings.Fields(rest)[0])
	if !running(pid) || !running(kid) {
		t.Fatalf("pids %d and %d do not run", pid, kid)
	}
	c.want()
	c.await("stopped", func(r messages.Report) bool { return len(r.Instances) == 0 })
	eventually(t, "both processes gone", func() bool { return !running(pid) && !running(kid) })
}

// TestData: data folders are seeded once, outlive releases, and can be written to
// through the release.
func TestData(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	a := c.start(c.options(dir))
	b, err := os.ReadFile(serverBinary)
	if err != nil {
		t.Fatal(err)
	}
	s := runSettings()
	s.Data = []string{"uploads", "var/cache"}
	first := c.release(map[string]string{"server*": string(b), "uploads/logo.txt": "seed", "app.txt": "1"})
	c.want(current("shop", first, s))
	client := c.via(a.Addr(), c.awaitHealthy(first).ID+".instance")
	if got := get(t, client, "/read?path=uploads/logo.txt"); got != "seed" {
		t.Errorf("seed is %q", got)
	}
	get(t, client, "/write?path=uploads/logo.txt&text=changed")
	get(t, client, "/write?path=var/cache/x&text=y")
	if code, _ := getCode(t, client, "/write?path=app.txt&text=changed"); code == http.StatusOK {
		t.Error("a file of the release can be written to")
	}
	second := c.release(map[string]string{"server*": string(b), "uploads/logo.txt": "new seed", "app.txt": "2"})
	c.want(current("shop", second, s))
	client = c.via(a.Addr(), c.awaitHealthy(second).ID+".instance")
	for path, want := range map[string]string{"uploads/logo.txt": "changed", "var/cache/x": "y", "app.txt": "2"} {
		if got := get(t, client, "/read?path="+path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

// TestLogCap: a log is cut, its end can be read, and its process goes on writing
// (G4).
func TestLogCap(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	o := c.options(dir)
	o.LogSize = 1 << 20
	a := c.start(o)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	inst := c.awaitHealthy(rel)
	client := c.via(a.Addr(), inst.ID+".instance")
	name := filepath.Join(dir, "sites", "shop", "log", inst.ID+".log")
	for range 3 {
		get(t, client, "/log?bytes=5000000")
		eventually(t, "log cut", func() bool {
			fi, err := os.Stat(name)
			return err == nil && fi.Size() <= o.LogSize
		})
	}
	fi, err := os.Stat(name + ".1")
	if err != nil || fi.Size() > o.LogSize {
		t.Errorf("G4: the former log: %v, %v", fi, err)
	}
	get(t, client, "/log?bytes=100")
	if text := logTexts(get(t, c.via(a.Addr(), "agent"), "/v1/logs/shop?lines=1")); text != "last line\n" {
		t.Errorf("the end of the log is %q", text)
	}
}

// TestCluster: a wanted state of another cluster changes nothing.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	inst := c.awaitHealthy(rel)
	c.update(func(w *messages.Wanted) { w.Cluster, w.Releases = "c2", nil })
	c.update(func(w *messages.Wanted) {
		w.Cluster = "c1"
		w.Releases = []messages.WantedRelease{current("shop", rel, runSettings())}
	})
	c.await("the next revision of its own cluster", func(r messages.Report) bool { return r.Revision == a.Wanted().Revision && r.Revision >= 4 })
	if got := c.awaitHealthy(rel); got.ID != inst.ID {
		t.Errorf("another instance runs: %s, not %s", got.ID, inst.ID)
	}
}

// TestBefore: deploy.before runs once for a deploy, as the site, and its failure
// fails the candidate.
func TestBefore(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	c.start(c.options(dir))
	b, err := os.ReadFile(serverBinary)
	if err != nil {
		t.Fatal(err)
	}
	rel := c.release(map[string]string{"server*": string(b), "migrate*": "#!/bin/sh\necho ran >> $PORTICO_DATA_DIR/ran\nexit $CODE\n"})
	s := runSettings()
	s.Deploy.Before = []string{"./migrate"}
	s.Env["CODE"] = "5"
	w := candidate("shop", rel, s, "d1")
	w.Before = true
	c.want(w)
	failed := c.awaitInstance("failed", rel, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
	if !strings.Contains(failed.Progress.Detail, "deploy.before") || !strings.Contains(failed.Progress.Detail, "exit status 5") {
		t.Errorf("detail is %q", failed.Progress.Detail)
	}
	// Somebody changes what was deployed: the command that runs is the true one (G6).
	installed := filepath.Join(dir, "sites", "shop", "releases", rel)
	overwrite(t, filepath.Join(installed, "migrate"), "#!/bin/sh\necho evil >> $PORTICO_DATA_DIR/ran\n")
	w.Deploy = "d2"
	w.Settings.Env = map[string]string{"CODE": "0"}
	c.want(w)
	c.awaitHealthy(rel)
	w.Duty = messages.DutyCurrent
	c.want(w)
	c.await("current", func(r messages.Report) bool { return r.Revision == 4 })
	ran, err := os.ReadFile(filepath.Join(dir, "sites", "shop", "data", "ran"))
	if err != nil || string(ran) != "ran\nran\n" {
		t.Errorf("the command ran: %q, %v", ran, err)
	}
}

// overwrite puts text into a file that is read-only.
func overwrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func pidOf(t *testing.T, body string) int {
	t.Helper()
	_, s, ok := strings.Cut(body, "pid ")
	pid, err := strconv.Atoi(s)
	if !ok || err != nil {
		t.Fatalf("no pid in %q", body)
	}
	return pid
}

// running reports whether a process lives: one that only waits to be reaped does
// not.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return len(f) > 0 && f[0] != "Z"
}
