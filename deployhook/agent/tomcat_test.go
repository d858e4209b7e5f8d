//go:build linux

package agent_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/tomcat"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/tests/support/freeport"
)

// sharedTomcat is a Tomcat of the distribution with a base folder of its own.
type sharedTomcat struct {
	base string
	port int
	cmd  *exec.Cmd
}

const tomcatPassword = "s3cret & <more>"

// startTomcat starts the distribution's Tomcat on a free port, with the Manager
// and a user for it. The test is skipped where the package is not installed.
func startTomcat(t *testing.T) *sharedTomcat {
	t.Helper()
	home := ""
	for _, dir := range []string{"/usr/share/tomcat11", "/usr/share/tomcat10", "/usr/share/tomcat9"} {
		if _, err := os.Stat(dir + "/bin/bootstrap.jar"); err == nil {
			if _, err := os.Stat(dir + "-admin/manager/WEB-INF/web.xml"); err == nil {
				home = dir
			}
		}
	}
	java, err := exec.LookPath("java")
	if home == "" || err != nil {
		missingTool(t, "no Tomcat with its manager here (Debian: tomcat10 tomcat10-admin tomcat10-examples)")
	}
	port := freeport.Get(t)
	tc := &sharedTomcat{base: t.TempDir(), port: port}
	for _, d := range []string{"conf/Catalina/localhost", "logs", "temp", "work", "webapps"} {
		if err := os.MkdirAll(filepath.Join(tc.base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var password bytes.Buffer
	if err := xml.EscapeText(&password, []byte(tomcatPassword)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"conf/server.xml": fmt.Sprintf(`<Server port="-1">
  <GlobalNamingResources>
    <Resource name="UserDatabase" auth="Container" type="org.apache.catalina.UserDatabase"
      factory="org.apache.catalina.users.MemoryUserDatabaseFactory" pathname="conf/tomcat-users.xml"/>
  </GlobalNamingResources>
  <Service name="Catalina">
    <Connector port="%d" address="127.0.0.1" protocol="HTTP/1.1"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Realm className="org.apache.catalina.realm.UserDatabaseRealm" resourceName="UserDatabase"/>
      <Host name="localhost" appBase="webapps" unpackWARs="true" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>`, port),
		"conf/tomcat-users.xml": `<tomcat-users>
  <user username="portico" password="` + password.String() + `" roles="manager-script"/>
  <user username="gui" password="gui" roles="manager-gui"/>
</tomcat-users>`,
		"conf/Catalina/localhost/manager.xml": fmt.Sprintf(`<Context docBase="%s-admin/manager" privileged="true" antiResourceLocking="false"/>`, home),
	} {
		if err := os.WriteFile(filepath.Join(tc.base, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"web.xml", "catalina.properties", "context.xml"} {
		b, err := os.ReadFile(filepath.Join("/etc", filepath.Base(home), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(tc.base, "conf", name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tc.cmd = exec.Command(java,
		"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dcatalina.home="+home, "-Dcatalina.base="+tc.base, "-Djava.io.tmpdir="+tc.base+"/temp",
		"-classpath", home+"/bin/bootstrap.jar:"+home+"/bin/tomcat-juli.jar",
		"org.apache.catalina.startup.Bootstrap", "start")
	log, err := os.Create(filepath.Join(tc.base, "logs", "out"))
	if err != nil {
		t.Fatal(err)
	}
	tc.cmd.Stdout, tc.cmd.Stderr = log, log
	if err := tc.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tc.cmd.Process.Kill()
		_ = tc.cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("Tomcat says:\n%.4000s", b)
		}
	})
	eventually(t, "Tomcat answers", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return tc
}

func (tc *sharedTomcat) options(t *testing.T) tomcat.Options {
	t.Helper()
	return tomcat.Options{
		ManagerURL: fmt.Sprintf("http://127.0.0.1:%d/manager", tc.port), User: "portico", PasswordFile: passwordFile(t, tomcatPassword),
	}
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func tomcatSettings(path string) sites.Settings {
	s := sites.Settings{Kind: sites.KindTomcat, Front: sites.Front{Path: path}}.WithDefaults("erp")
	s.Health.Interval = units.Duration(200 * time.Millisecond)
	s.Health.Timeout = units.Duration(5 * time.Second)
	return s
}

// session is one visitor of an instance.
func (c *cluster) session(addr net.Addr, id string) *http.Client {
	client := c.via(addr, id+".instance")
	client.Jar, _ = cookiejar.New(nil)
	return client
}

const counterJSP = `<%@ page session="true" %><% Integer n = (Integer) session.getAttribute("n");
n = n == null ? 1 : n + 1; session.setAttribute("n", n); %>RELEASE <%= n %>`

// TestTomcat: a WAR in two releases beside one another in a real Tomcat, old
// sessions on the old one; roll-out, removal, adoption, and what goes wrong.
func TestTomcat(t *testing.T) {
	tc := startTomcat(t)
	c := newCluster(t)
	dir := t.TempDir()
	o := c.options(dir)
	o.Tomcat = tc.options(t)
	a, stop := c.startStop(o)
	t.Cleanup(stop)

	release := func(name string) string {
		return c.release(map[string]string{
			"WEB-INF/web.xml": `<web-app version="4.0"/>`,
			"index.jsp":       strings.ReplaceAll(counterJSP, "RELEASE", name),
		})
	}
	s := tomcatSettings("/erp")
	one := release("one")
	c.want(current("erp", one, s))
	first := c.awaitHealthy(one)
	visitor := c.session(a.Addr(), first.ID)
	for i := range 2 {
		if got, want := strings.TrimSpace(get(t, visitor, "/erp/")), fmt.Sprintf("one %d", i+1); got != want {
			t.Errorf("the application says %q, want %q", got, want)
		}
	}

	// A second release runs beside the first: the old session goes on, a new
	// visitor gets the new one.
	two := release("two")
	c.want(current("erp", one, s), candidate("erp", two, s, "d1"))
	second := c.awaitHealthy(two)
	retiring := current("erp", one, s)
	retiring.Duty = messages.DutyRetiring
	c.want(current("erp", two, s), retiring)
	if got := strings.TrimSpace(get(t, visitor, "/erp/")); got != "one 3" {
		t.Errorf("the old session sees %q", got)
	}
	visitor2 := c.session(a.Addr(), second.ID)
	if got := strings.TrimSpace(get(t, visitor2, "/erp/")); got != "two 1" {
		t.Errorf("a new visitor sees %q", got)
	}
	if list := tc.list(t); !strings.Contains(list, "erp##000000000001") || !strings.Contains(list, "erp##000000000002") {
		t.Errorf("Tomcat has %s", list)
	}

	// The agent goes and comes: Tomcat and its sessions stay, the ids too.
	stop()
	a = c.start(o)
	c.await("adopted", func(r messages.Report) bool {
		n := 0
		for _, i := range r.Instances {
			if (i.ID == first.ID || i.ID == second.ID) && i.State == catalog.InstanceHealthy {
				n++
			}
		}
		return n == 2
	})
	again := c.via(a.Addr(), second.ID+".instance")
	again.Jar = visitor2.Jar
	if got := strings.TrimSpace(get(t, again, "/erp/")); got != "two 2" {
		t.Errorf("after the agent's restart the session sees %q", got)
	}

	// A broken one fails, is taken away, and Tomcat's own words are told.
	broken := c.release(map[string]string{"WEB-INF/web.xml": `<web-app><listener><listener-class>no.such.Class</listener-class></listener></web-app>`})
	c.want(current("erp", two, s), candidate("erp", broken, s, "d2"))
	failed := c.awaitInstance("failed", broken, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
	if !strings.Contains(failed.Progress.Detail, "failed to start") {
		t.Errorf("detail is %q", failed.Progress.Detail)
	}
	eventually(t, "the first and the broken version are gone", func() bool {
		list := tc.list(t)
		return !strings.Contains(list, "##000000000001") && !strings.Contains(list, "##000000000003")
	})

	// A second site at the same path is refused.
	c.want(current("erp", two, s), candidate("crm", two, s, "d3"))
	taken := c.awaitInstance("refused", two, func(i messages.InstanceReport) bool { return i.Site == "crm" && i.Progress.Step == catalog.StepFailed })
	if !strings.Contains(taken.Progress.Detail, "choose another path") {
		t.Errorf("detail is %q", taken.Progress.Detail)
	}

	// Somebody removes the version by hand: it comes back as a new instance.
	if code := tc.command(t, "undeploy?path=/erp&version=000000000002"); code != 200 {
		t.Fatalf("undeploy: %d", code)
	}
	c.awaitInstance("installed again", two, func(i messages.InstanceReport) bool {
		return i.Site == "erp" && i.State == catalog.InstanceHealthy && i.ID != second.ID
	})
	c.want()
	c.await("nothing left", func(r messages.Report) bool { return len(r.Instances) == 0 })
	if list := tc.list(t); strings.Contains(list, "/erp") {
		t.Errorf("Tomcat still has %s", list)
	}
}

// TestTomcatRoot: the site's path "/" is Tomcat's ROOT, and a .war file inside the
// release is taken as it is: here the distribution's examples.
func TestTomcatRoot(t *testing.T) {
	tc := startTomcat(t)
	var examples string
	for _, dir := range []string{"/usr/share/tomcat11-examples/examples", "/usr/share/tomcat10-examples/examples", "/usr/share/tomcat9-examples/examples"} {
		if _, err := os.Stat(dir); err == nil {
			examples = dir
			break
		}
	}
	if examples == "" {
		missingTool(t, "Tomcat's examples are not installed (Debian: tomcat10-examples)")
	}
	war := filepath.Join(t.TempDir(), "examples.war")
	if out, err := exec.Command("jar", "cf", war, "-C", examples, ".").CombinedOutput(); err != nil {
		if zipped, err := exec.Command("python3", "-m", "zipfile", "-c", war, examples+"/.").CombinedOutput(); err != nil {
			t.Skipf("no tool to pack a WAR: %v: %s, %s", err, out, zipped)
		}
	}
	b, err := os.ReadFile(war)
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(t)
	o := c.options(t.TempDir())
	o.Tomcat = tc.options(t)
	a := c.start(o)
	rel := c.release(map[string]string{"examples.war": string(b)})
	c.want(current("shop", rel, tomcatSettings("/")))
	inst := c.awaitHealthy(rel)
	visitor := c.session(a.Addr(), inst.ID)
	get(t, visitor, "/servlets/servlet/SessionExample?dataname=color&datavalue=teal")
	if body := get(t, visitor, "/servlets/servlet/SessionExample"); !strings.Contains(body, "color") || !strings.Contains(body, "teal") {
		t.Errorf("the session example has forgotten: %.500s", body)
	}
}

// TestTomcatErrors: each way in which the Manager cannot be used names its remedy.
func TestTomcatErrors(t *testing.T) {
	tc := startTomcat(t)
	right := tc.options(t)
	for _, tt := range []struct {
		name   string
		change func(*tomcat.Options)
		want   string
	}{
		{"wrong password", func(o *tomcat.Options) { o.PasswordFile = passwordFile(t, "wrong") }, "tomcat-users.xml"},
		{"wrong role", func(o *tomcat.Options) { o.PasswordFile, o.User = passwordFile(t, "gui"), "gui" }, "manager-script"},
		{"not there", func(o *tomcat.Options) {
			o.ManagerURL = fmt.Sprintf("http://127.0.0.1:%d/manager", freeport.Get(t))
		}, "is Tomcat running"},
		{"no manager", func(o *tomcat.Options) { o.ManagerURL += "x" }, "tomcat10-admin"},
		{"no file", func(o *tomcat.Options) { o.PasswordFile += "x" }, "read password"},
		{"no files", func(o *tomcat.Options) { *o = tomcat.Options{Home: t.TempDir()} }, "is no Tomcat"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			o := c.options(t.TempDir())
			o.Tomcat = right
			tt.change(&o.Tomcat)
			c.start(o)
			s := tomcatSettings("/erp")
			s.Deploy.Timeout = units.Duration(time.Millisecond)
			rel := c.release(map[string]string{"index.jsp": "x"})
			c.want(candidate("erp", rel, s, "d1"))
			failed := c.awaitInstance("failed", rel, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
			if !strings.Contains(failed.Progress.Detail, tt.want) {
				t.Errorf("detail is %q, %q is missing", failed.Progress.Detail, tt.want)
			}
			if strings.Contains(failed.Progress.Detail, tomcatPassword) {
				t.Error("the password is told")
			}
		})
	}
}

// list asks Tomcat itself what it has.
func (tc *sharedTomcat) list(t *testing.T) string {
	t.Helper()
	_, body := tc.ask(t, "list")
	return body
}

func (tc *sharedTomcat) command(t *testing.T, command string) int {
	t.Helper()
	code, _ := tc.ask(t, command)
	return code
}

func (tc *sharedTomcat) ask(t *testing.T, command string) (int, string) {
	t.Helper()
	u := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", tc.port), User: url.UserPassword("portico", tomcatPassword)}
	res, err := http.Get(u.String() + "/manager/text/" + command)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b.String()
}

// missingTool skips a test for want of a tool; in CI, where all are installed,
// it fails, so that nothing is left out unseen.
func missingTool(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
