package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/machine"
	"portico/deployhook/agent/tomcat"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/tests/support/confine"
	"portico/tests/support/written"
)

// asTheUnit puts a command under the capabilities of the shipped unit.
func asTheUnit(t *testing.T) func(argv []string) []string {
	t.Helper()
	unit, err := confine.Read("../../docs/examples/portico-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	return func(argv []string) []string {
		argv, err := unit.Privileges(argv)
		if err != nil {
			t.Skipf("install setpriv (util-linux) to see this one: %v", err)
		}
		return argv
	}
}

func asRoot(argv []string) []string { return argv }

// openDir is a state directory that sites' users may enter, as the unit makes it.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("sites have users of their own only where the agent is root: run the tests as root, as in a container, to see this one")
	}
}

// record is what an agent remembers of an instance.
type record struct {
	ID   string
	PID  int
	Port int
	UID  int
}

// records reads what an agent remembers of its instances, by site.
func records(t *testing.T, dir string) map[string]record {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "agent", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Instances map[string]struct {
			record
			Site string
		}
	}
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]record)
	for _, i := range state.Instances {
		out[i.Site] = i.record
	}
	return out
}

// try makes a request with a visitor's cookie and returns what came back.
func try(client *http.Client) string {
	req, err := http.NewRequest(http.MethodGet, "https://shop.example/", nil)
	if err != nil {
		return ""
	}
	req.Header.Set("Cookie", "session=of-a-visitor")
	client.CloseIdleConnections() // each connection anew
	res, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

// TestPortIsAskedEachTime: a site whose application lets go of its port, to bind
// it again, loses it to another site, which gets nothing: no visitor's request and
// no check. The agent says who has it. So with all capabilities, where the other
// site hides its descriptors, and with those of the shipped unit, which sees
// nobody's.
func TestPortIsAskedEachTime(t *testing.T) {
	needRoot(t)
	for name, wrap := range map[string]func([]string) []string{"all capabilities": asRoot, "the unit's": asTheUnit(t)} {
		for _, six := range []string{"", "&six=1"} {
			t.Run(name+six, func(t *testing.T) {
				c := newCluster(t)
				dir := openDir(t)
				ch := c.startChildUnder(t, dir, true, wrap)
				t.Cleanup(func() { ch.stop(t) })
				rel := c.serverRelease("1")
				c.want(current("shop", rel, runSettings()), current("evil", rel, runSettings()))
				healthy := func(site string) *http.Client {
					i := c.awaitInstance(site, rel, func(i messages.InstanceReport) bool {
						return i.Site == site && i.State == catalog.InstanceHealthy
					})
					return c.via(ch.addr, i.ID+".instance")
				}
				shop, evil := healthy("shop"), healthy("evil")
				if got := try(shop); !strings.Contains(got, " pid ") {
					t.Fatalf("the site says %q", got)
				}
				port := records(t, dir)["shop"].Port
				get(t, shop, "/unlisten")
				get(t, evil, fmt.Sprintf("/squat?hide=1&port=%d%s", port, six))
				for range 20 {
					if got := try(shop); got != "" {
						t.Fatalf("a visitor of shop got %q", got)
					}
				}
				c.awaitInstance("named", rel, func(i messages.InstanceReport) bool {
					return i.Site == "shop" && i.State == catalog.InstanceFailing && strings.Contains(i.Detail, "site evil")
				})
				if n := get(t, evil, "/squatted"); n != "0" {
					t.Errorf("the other site got %s bytes", n)
				}
			})
		}
	}
}

// TestPortTakenAtStart: a site that takes another's port before that one has
// bound it is named, and the other gets another port.
func TestPortTakenAtStart(t *testing.T) {
	needRoot(t)
	c := newCluster(t)
	dir := openDir(t)
	ch := c.startChildUnder(t, dir, true, asTheUnit(t))
	t.Cleanup(func() { ch.stop(t) })
	rel := c.serverRelease("1")
	c.want(current("evil", rel, runSettings()))
	evil := c.via(ch.addr, c.awaitHealthy(rel).ID+".instance")
	c.want(current("evil", rel, runSettings()), current("shop", rel, runSettings("-mute")))
	first := c.awaitInstance("started", rel, func(i messages.InstanceReport) bool {
		return i.Site == "shop" && i.Progress.Probe != nil && i.Progress.Probe.Code == "L4CON"
	})
	port := records(t, dir)["shop"].Port
	get(t, evil, "/squat?port="+strconv.Itoa(port))
	ended := c.awaitInstance("ended", rel, func(i messages.InstanceReport) bool {
		return i.ID == first.ID && i.State == catalog.InstanceExited
	})
	if want := fmt.Sprintf("port %d was taken by another process (site evil", port); !strings.Contains(ended.Detail, want) {
		t.Errorf("the report says %q, %q is missing", ended.Detail, want)
	}
	c.awaitInstance("started again", rel, func(i messages.InstanceReport) bool {
		return i.Site == "shop" && i.ID != first.ID && i.Progress.Probe != nil && i.Progress.Probe.Code == "L4CON" && !strings.Contains(i.Progress.Probe.Error, "held")
	})
	if again := records(t, dir)["shop"].Port; again == port {
		t.Errorf("the next start has port %d again", port)
	}
}

// TestHookPortOfAnother: a hook site answers neither from another site's instance
// nor, where the machine names the users of its application servers, from anybody
// else's port.
func TestHookPortOfAnother(t *testing.T) {
	needRoot(t)
	root, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "foreign") })}
	go func() { _ = srv.Serve(root) }()
	t.Cleanup(func() { _ = srv.Close() })
	for _, tt := range []struct {
		name  string
		users []string
		port  int    // 0: shop's
		want  string // of the check; empty: healthy
	}{
		{"another site's", nil, 0, "site shop"},
		{"another site's, users named", []string{"root"}, 0, "site shop"},
		{"a server of the machine", nil, root.Addr().(*net.TCPAddr).Port, ""},
		{"a server that is named", []string{"root"}, root.Addr().(*net.TCPAddr).Port, ""},
		{"a server that is not", []string{"nobody"}, root.Addr().(*net.TCPAddr).Port, "agent.hook_users"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			dir := t.TempDir()
			o := c.options(dir)
			o.HookUsers = tt.users
			a := c.start(o)
			rel := c.serverRelease("1")
			c.want(current("shop", rel, runSettings()))
			c.awaitHealthy(rel)
			if tt.port == 0 {
				tt.port = records(t, dir)["shop"].Port
			}
			s := sites.Settings{Kind: sites.KindHook, Hook: sites.Hook{Port: tt.port}}.WithDefaults("erp")
			s.Health.Interval = units.Duration(100 * time.Millisecond)
			hook := c.release(map[string]string{"empty": "x"})
			c.want(current("shop", rel, runSettings()), current("erp", hook, s))
			i := c.awaitInstance("checked", hook, func(i messages.InstanceReport) bool {
				return i.Progress.Probe != nil && (tt.want != "" || i.State == catalog.InstanceHealthy)
			})
			if tt.want != "" && (i.Progress.Probe.OK || !strings.Contains(i.Progress.Probe.Error, tt.want)) {
				t.Errorf("the check says %+v, %q is missing", i.Progress.Probe, tt.want)
			}
			got := try(c.via(a.Addr(), i.ID+".instance"))
			if tt.want != "" && got != "" || tt.want == "" && got != "foreign" {
				t.Errorf("a visitor got %q", got)
			}
		})
	}
}

// TestManagerIsNotASite: a site that takes Tomcat's port while Tomcat is away gets
// neither the Manager's password nor a visitor.
func TestManagerIsNotASite(t *testing.T) {
	needRoot(t)
	c := newCluster(t)
	dir := t.TempDir()
	ch := c.startChild(t, dir, true)
	t.Cleanup(func() { ch.stop(t) })
	rel := c.serverRelease("1")
	c.want(current("evil", rel, runSettings()))
	evil := c.via(ch.addr, c.awaitHealthy(rel).ID+".instance")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	get(t, evil, "/squat?port="+strconv.Itoa(port))

	o := c.options(t.TempDir())
	o.Tomcat = tomcat.Options{ManagerURL: fmt.Sprintf("http://127.0.0.1:%d/manager", port), User: "portico", PasswordFile: passwordFile(t, "secret")}
	users, err := account.UsersOf(o.SiteUser, o.AllowUsers)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := machine.Runtimes(t.Context(), o.Tomcat, users.None)["tomcat"]; ok {
		t.Errorf("the site passes for Tomcat %s", v)
	}
	c2 := newClusterOf(t, c.ca)
	o.Proxies = []messages.Peer{c2.peer()}
	c2.start(o)
	war := c2.release(map[string]string{"WEB-INF/web.xml": "<web-app/>"})
	c2.want(current("java", war, sites.Settings{Kind: sites.KindTomcat, Front: sites.Front{Path: "/"}}.WithDefaults("java")))
	c2.awaitInstance("refused", war, func(i messages.InstanceReport) bool { return strings.Contains(i.Detail, "not by Tomcat") })
	if n := get(t, evil, "/squatted"); n != "0" {
		t.Errorf("the other site got %s bytes, a password in them", n)
	}
}

// TestListenNamesTheHolder: who has the agent's own port is told.
func TestListenNamesTheHolder(t *testing.T) {
	c := newCluster(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := c.options(t.TempDir())
	o.Listen = l.Addr().String()
	log := &written.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Shutdown(t.Context())
	err = a.Listen()
	if want := fmt.Sprintf("pid %d", os.Getpid()); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("the error is %v, %q is missing", err, want)
	}
}

// TestClosedFolder: an agent that may lay no file system over a folder that sites
// cannot enter says so at its start, with the folder, its mode and the remedy.
func TestClosedFolder(t *testing.T) {
	needRoot(t)
	c := newCluster(t)
	dir := filepath.Join(openDir(t), "closed", "state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := c.childCommand(t, childConfig{Dir: dir, Listen: "127.0.0.1:0"}, false, asTheUnit(t)).CombinedOutput()
	if want := filepath.Dir(dir) + " (mode 0700) cannot be entered"; err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "chmod o+x") {
		t.Errorf("%v: %s: %q is missing", err, out, want)
	}
}
