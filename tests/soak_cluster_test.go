package tests

import (
	"archive/zip"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/membership/catalog"
	"portico/tests/harness"
)

// noticeSite shows people a page about a lost session.
const noticeSite = "php"

// soak is a cluster with its visitors.
type soak struct {
	t        *testing.T
	began    time.Time
	proxy    *harness.Proxy
	agents   map[string]*harness.Agent
	tomcats  map[string]*harness.Tomcat
	crowd    *crowd
	dirs     map[string]string // of the sites
	releases int
	done     map[string]int // how often each thing was done
	kept     map[string]int // lost sessions that proxies before this one have counted
	rotated  time.Time
	patience string // of a drain that has to get empty
}

func startSoak(t *testing.T) *soak {
	needSoak(t)
	harness.Binary(t) // building it is no part of the time that is reported
	s := &soak{
		t: t, began: time.Now(), agents: map[string]*harness.Agent{}, tomcats: map[string]*harness.Tomcat{},
		dirs: map[string]string{}, done: map[string]int{}, kept: map[string]int{}, patience: "60s",
	}
	s.startServers("server-1", "server-2", "server-3")
	s.dirs["node"] = changed(t, harness.App("node"), "release.txt", "")
	s.dirs["tomcat"] = changed(t, harness.App("tomcat"), filepath.Join("counter", "release.txt"), "")
	s.dirs["php"] = phpInItsOwnFolder(t)
	for _, site := range slices.Sorted(maps.Keys(s.dirs)) {
		s.proxy.Must("deploy", site, s.next(site), "--host", site+".test")
	}
	s.proxy.Must("sites", "set", noticeSite, "session.notice=true")
	for site := range s.dirs { // a server is switched off in the end, and nobody is left there to say so
		s.proxy.Must("sites", "set", site, "session.patience=1s")
	}
	think := 3 * time.Second
	if harness.Raced(s.t) {
		think = 6 * time.Second // -race costs several times the processor time
		for site := range s.dirs {
			s.proxy.Must("sites", "set", site, "health.interval=2s") // the default
		}
	}
	s.crowd = &crowd{t: t, think: think}
	s.crowd.gather(s.proxy.HTTP, "php", "/logout", 200)
	s.crowd.gather(s.proxy.HTTP, "node", "/logout", 200)
	s.crowd.gather(s.proxy.HTTP, "tomcat", "/logout.jsp", 100)
	t.Logf("the cluster stands after %v", time.Since(s.began).Round(time.Second))
	t.Cleanup(s.powerOff)
	s.crowd.start()
	s.crowd.everyone()
	return s
}

// forHours shortens what a round waits for after the power cut of the one before: the
// proxy is sure of its counts again after the idle time and a quarter.
func (s *soak) forHours() {
	s.t.Helper()
	for site := range s.dirs {
		s.proxy.Must("sites", "set", site, "session.idle=90s")
	}
	s.patience = "4m"
}

// startServers starts the proxy and application servers, each with a Tomcat of
// its own.
func (s *soak) startServers(names ...string) {
	s.proxy = harness.StartProxy(s.t)
	for _, name := range names {
		tc := harness.StartTomcat(s.t, "-Dportico.member="+name)
		s.tomcats[name] = tc
		secret := writeFile(s.t, "manager-password", tc.Password)
		s.agents[name] = s.proxy.AddServer(name, "--set", "agent.tomcat.url="+tc.ManagerURL(),
			"--set", "agent.tomcat.user="+tc.User, "--set", "agent.tomcat.password_file="+secret)
	}
}

// powerOff ends everything at once: dozens of processes take their time to end in
// good order, which other tests look at.
func (s *soak) powerOff() {
	for _, a := range s.agents {
		if a.Running() {
			a.KillWithSites()
		}
	}
	s.proxy.Kill()
}

// phpInItsOwnFolder is the PHP application with its sessions in a folder of the
// instance: another release on the same server has none of them.
func phpInItsOwnFolder(t *testing.T) string {
	dir := changed(t, harness.App("php"), "release.txt", "")
	write(t, dir, "portico.toml", `run = ["sh", "-c", "mkdir -p $TMPDIR/$PORTICO_INSTANCE && exec php -d session.save_path=$TMPDIR/$PORTICO_INSTANCE -S 127.0.0.1:$PORT -t public public/index.php"]
env = { PHP_CLI_SERVER_WORKERS = "4" }

[health]
path = "/healthz"
status = "200"
interval = "500ms"
`)
	return dir
}

// next makes another release of a site and returns its folder.
func (s *soak) next(site string) string {
	s.t.Helper()
	s.releases++
	dir, text := s.dirs[site], fmt.Sprintf("release-%08d\n", s.releases)
	if site == "tomcat" {
		return s.packWAR(dir, text)
	}
	write(s.t, dir, "release.txt", text)
	return dir
}

// packWAR makes a folder with the application as a WAR, and its portico.toml.
func (s *soak) packWAR(app, release string) string {
	s.t.Helper()
	write(s.t, filepath.Join(app, "counter"), "release.txt", release)
	dir := s.t.TempDir()
	copyFile(s.t, filepath.Join(app, "portico.toml"), filepath.Join(dir, "portico.toml"))
	file, err := os.Create(filepath.Join(dir, "counter.war"))
	if err != nil {
		s.t.Fatal(err)
	}
	z := zip.NewWriter(file)
	if err := errors.Join(z.AddFS(os.DirFS(filepath.Join(app, "counter"))), z.Close(), file.Close()); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func (s *soak) count(what string) { s.done[what]++ }

// deploy installs the next release of a site. Everybody stays where they are, and
// whoever comes anew gets it.
func (s *soak) deploy(site string) {
	s.t.Helper()
	s.crowd.sound()
	s.proxy.Must("deploy", site, s.next(site))
	s.count("deploys")
}

func (s *soak) rollback(site string) {
	s.t.Helper()
	s.proxy.Must("rollback", site)
	s.count("deploys")
}

// rotateKey makes a new session key, unless the last one is too young.
func (s *soak) rotateKey() {
	s.t.Helper()
	if !s.rotated.IsZero() && time.Since(s.rotated) < 11*time.Minute {
		return
	}
	s.proxy.Must("keys", "rotate", "session")
	s.rotated = time.Now()
	s.count("key rotations")
}

// release is what the site's application calls its present release.
func (s *soak) release(site string) string {
	s.t.Helper()
	if site == "tomcat" {
		s.t.Fatal("BUG: the Tomcat site names its releases itself")
	}
	var list []catalog.Site
	s.proxy.JSON(&list, "sites", "--json")
	for _, x := range list {
		if x.Name == site {
			return x.Release
		}
	}
	s.t.Fatalf("there is no site %s", site)
	return ""
}

// instance is the id of the instance of a site's present release on a server.
func (s *soak) instance(site, member string) string {
	s.t.Helper()
	release := s.release(site)
	var list []struct{ Site, Member, Release, Instance string }
	s.proxy.JSON(&list, "sessions", site, "--json")
	for _, in := range list {
		if in.Member == member && in.Release == release {
			return in.Instance
		}
	}
	s.t.Fatalf("%s has no instance on %s: %+v", site, member, list)
	return ""
}

// drainsAt returns the drain of an object.
func drainsAt(t *testing.T, p *harness.Proxy, object string) deployhook.Drain {
	t.Helper()
	for _, d := range drainsOf(t, p) {
		if d.Object == object {
			return d
		}
	}
	t.Errorf("%s does not drain", object)
	return deployhook.Drain{}
}

// ended waits until the audit tells the outcome of a drain.
func (s *soak) ended(object, outcome string) {
	s.t.Helper()
	harness.Eventually(s.t, time.Minute, func() error {
		s.crowd.sound()
		for line := range strings.Lines(s.proxy.Must("audit")) {
			if strings.Contains(line, "drain ended") && strings.Contains(line, object) && strings.Contains(line, outcome) {
				return nil
			}
		}
		return errf("the audit does not tell that the drain of %s has ended", object)
	})
}

var lostSeries = regexp.MustCompile(`(?m)^portico_pool_lost_sessions_total\{site="(\w+)",cause="([\w-]+)"\} (\d+)$`)

// lost returns how many sessions were counted as lost so far, by site and cause.
func (s *soak) lost() map[string]int {
	s.t.Helper()
	code, text := s.proxy.API(http.MethodGet, "/metrics", nil)
	if code != http.StatusOK {
		s.t.Fatalf("/metrics answers %d", code)
	}
	all := maps.Clone(s.kept)
	found := lostSeries.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		s.t.Fatal("/metrics does not count lost sessions")
	}
	for _, m := range found {
		n, err := strconv.Atoi(m[3])
		if err != nil {
			s.t.Fatal(err)
		}
		all[m[1]+" "+m[2]] += n
	}
	return all
}

// keepMetrics remembers what the proxy that is about to end has counted.
func (s *soak) keepMetrics() { s.kept = s.lost() }

// noneLost fails the test if the proxy knows of a lost session.
func (s *soak) noneLost() {
	s.t.Helper()
	for key, n := range s.lost() {
		if n != 0 {
			s.t.Errorf("%d sessions are counted as lost: %s", n, key)
		}
	}
	if strings.Contains(s.proxy.Log(), "session lost") {
		s.t.Error("the proxy's log tells of a lost session")
	}
	s.crowd.sound()
}

// report says what has been done so far.
func (s *soak) report() {
	c := s.crowd
	s.t.Logf("%d visitors made %d visits in %v and ended %d sessions of their own; %v; %d requests were sent again for a restart, %d of them may have been counted",
		len(c.all), c.visits.Load(), time.Since(s.began).Round(time.Second), c.ends.Load(), s.done, c.again.Load(), c.doubts.Load())
}
