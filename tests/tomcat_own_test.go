package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// jsp is a web application that counts in its session and does to the machine what it is told.
const jsp = `<%@ page contentType="application/json" trimDirectiveWhitespaces="true" import="java.nio.file.*" %>
<%
Integer before = (Integer) session.getAttribute("views");
int views = before == null ? 1 : before + 1;
session.setAttribute("views", views);
String got = "";
try {
  if (request.getParameter("read") != null) got = new String(Files.readAllBytes(Path.of(request.getParameter("read"))));
  if (request.getParameter("write") != null) { Files.writeString(Path.of(request.getParameter("write")), "written"); got = "written"; }
  if (request.getParameter("upload") != null) { Files.writeString(Path.of(application.getRealPath("/uploads"), "new.txt"), "uploaded"); got = "uploaded"; }
} catch (Exception e) { got = "refused"; }
%>
{"views":<%= views %>,"server":"<%= System.getenv("PORTICO_MEMBER") %>","release":"<%= System.getenv("PORTICO_RELEASE") %>","pid":<%= ProcessHandle.current().pid() %>,"base":"<%= System.getProperty("catalina.base") %>","dir":"<%= System.getenv("PORTICO_RELEASE_DIR") %>","data":"<%= System.getenv("PORTICO_DATA_DIR") %>","got":"<%= got.replaceAll("[^A-Za-z0-9_=.-]", " ") %>"}
`

type tomcatVisit struct {
	Views                   int
	Release, Base, Dir, Got string
	Data                    string
	Pid                     int
}

// webApp makes the folder of a web application.
func webApp(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "WEB-INF"), 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(harness.App("tomcat"), "counter", "WEB-INF", "web.xml"), filepath.Join(dir, "WEB-INF", "web.xml"))
	write(t, dir, "index.jsp", jsp)
	write(t, dir, "portico.toml", manifest+"\n[deploy]\ntimeout = \"3m\"\n[health]\ninterval = \"1s\"\ntimeout = \"10s\"\n")
	return dir
}

func tomcatGet(t *testing.T, v *harness.Visitor, path string) (got tomcatVisit) {
	t.Helper()
	_, body, err := visitOK(v, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	return got
}

const lean = `env = { JAVA_OPTS = "-Xmx64m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC", CATALINA_OPTS = "-Dsecret=of-%s", SECRET = "of-%[1]s" }`

// Where Tomcat is installed and nothing is configured, each site has a Tomcat of its own: neither can
// read the other's memory, sessions and files, a former release keeps its sessions, an agent that comes
// back finds them, and a site that is removed leaves nothing running.
func TestEachSiteHasItsOwnTomcat(t *testing.T) {
	t.Parallel()
	harness.Need(t, "/usr/share/tomcat10/bin/bootstrap.jar")
	harness.Need(t, "java")
	harness.Need(t, "zip")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	crm := webApp(t, "data = [\"uploads\"]\n"+fmt.Sprintf(lean, "crm"))
	p.Must("deploy", "crm", crm, "--host", "crm.test", "--path", "/crm")
	erp := t.TempDir()
	pack := exec.Command("zip", "-qr", filepath.Join(erp, "erp.war"), "index.jsp", "WEB-INF")
	pack.Dir = webApp(t, "")
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("zip: %v: %s", err, out)
	}
	write(t, erp, "portico.toml", fmt.Sprintf(lean, "erp")+"\n[deploy]\ntimeout = \"3m\"\n")
	p.Must("deploy", "erp", erp, "--host", "erp.test")

	v, w := harness.NewVisitor(t, p.HTTP, "crm.test"), harness.NewVisitor(t, p.HTTP, "erp.test")
	c, e := tomcatGet(t, v, "/crm/"), tomcatGet(t, w, "/")
	if c.Pid == e.Pid || c.Base == e.Base {
		t.Errorf("two sites have one Tomcat: %+v, %+v", c, e)
	}
	t.Run("apart", func(t *testing.T) { tomcatsApart(t, w, a, c, e) })
	if got := tomcatGet(t, v, "/crm/?upload=1"); got.Got != "uploaded" {
		t.Errorf("the application cannot write its data folder: %+v", got)
	}
	if _, body, err := visitOK(v, "/crm/uploads/new.txt"); err != nil || string(body) != "uploaded" {
		t.Errorf("a file in a data folder: %q, %v", body, err)
	}
	for _, path := range []string{"/crm/portico.toml", "/crm/%70ortico.toml", "/crm/x/../portico.toml", "/crm/WEB-INF/web.xml", "/crm/../manager/html", "/crm/..;/manager/html"} {
		if resp, body, err := v.Do(http.MethodGet, path, nil); err == nil && (resp.StatusCode < 400 || strings.Contains(string(body), "of-crm")) {
			t.Errorf("%s answers %s %.60q", path, resp.Status, body)
		}
	}
	if out := p.Must("logs", "crm"); !strings.Contains(out, "Server startup") {
		t.Errorf("Tomcat's log is not in portico logs:\n%s", out)
	}

	// A second release is a second process; who was there stays.
	write(t, crm, "second.txt", "2")
	p.Must("deploy", "crm", crm, "--host", "crm.test", "--path", "/crm")
	before := tomcatGet(t, v, "/crm/")
	if before.Pid != c.Pid || before.Release != c.Release || before.Views != 3 {
		t.Errorf("a session went on as %+v, it was on %+v", before, c)
	}
	fresh := harness.NewVisitor(t, p.HTTP, "crm.test")
	second := tomcatGet(t, fresh, "/crm/")
	if second.Pid == c.Pid || second.Release == c.Release || second.Views != 1 {
		t.Errorf("a new visitor is on %+v", second)
	}

	// The agent is killed, and later restarted by its service; the next one finds all three where they are.
	for i, end := range []func(){a.Kill, func() { endAgent(t, a) }} {
		end()
		a.Restart()
		harness.Eventually(t, 2*time.Minute, func() error {
			_, _, err := visitOK(v, "/crm/")
			return err
		})
		if got := tomcatGet(t, v, "/crm/"); got.Pid != c.Pid || got.Views < 4+2*i {
			t.Errorf("after the agent's restart a session is on %+v", got)
		}
		if got := tomcatGet(t, fresh, "/crm/"); got.Pid != second.Pid || got.Views < 2+i {
			t.Errorf("after the agent's restart a session is on %+v", got)
		}
	}

	p.Must("remove", "crm", "--yes")
	harness.Eventually(t, 2*time.Minute, func() error {
		for _, pid := range []int{c.Pid, second.Pid} {
			if syscall.Kill(pid, 0) == nil {
				return errf("process %d of a removed site runs", pid)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(a.Dir, "sites", "crm", "tomcat", "*")); len(left) != 0 {
			return errf("left of a removed site: %v", left)
		}
		return nil
	})
	if got := tomcatGet(t, w, "/"); got.Pid != e.Pid {
		t.Errorf("the other site is on %+v", got)
	}
}

// tomcatsApart attacks one site out of another's Tomcat.
func tomcatsApart(t *testing.T, from *harness.Visitor, a *harness.Agent, victim, own tomcatVisit) {
	if got := tomcatGet(t, from, "/?read="+url.QueryEscape("/proc/self/environ")); !strings.Contains(got.Got, "SECRET=of-erp") {
		t.Errorf("the attack does not work at home: %+v", got)
	}
	if os.Geteuid() != 0 {
		t.Skip("accounts of their own need root")
	}
	uid := func(pid int) uint32 {
		fi, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		if err != nil {
			t.Fatal(err)
		}
		return fi.Sys().(*syscall.Stat_t).Uid
	}
	if c, e := uid(victim.Pid), uid(own.Pid); c == e || c == 0 || e == 0 {
		t.Errorf("the two Tomcats run as users %d and %d", c, e)
	}
	for _, path := range []string{
		fmt.Sprintf("/proc/%d/environ", victim.Pid), fmt.Sprintf("/proc/%d/mem", victim.Pid), fmt.Sprintf("/proc/%d/root%s/index.jsp", victim.Pid, victim.Dir),
		victim.Dir + "/index.jsp", victim.Dir + "/portico.toml", victim.Base + "/conf/server.xml",
		filepath.Join(a.Dir, "agent", "state.json"), filepath.Join(a.Dir, "identity", "key.pem"), "/etc/shadow",
	} {
		if got := tomcatGet(t, from, "/?read="+url.QueryEscape(path)); got.Got != "refused" {
			t.Errorf("a site reads %s: %.60q", path, got.Got)
		}
	}
	for _, path := range []string{
		own.Base + "/conf/server.xml", own.Base + "/conf/Catalina/localhost/x.xml", own.Base + "/x", own.Dir + "/x", own.Dir + "/portico.toml",
		victim.Base + "/webapps/x", victim.Data + "/x", "/usr/share/tomcat10/lib/x.jar",
	} {
		if got := tomcatGet(t, from, "/?write="+url.QueryEscape(path)); got.Got != "refused" {
			t.Errorf("a site writes %s", path)
		}
	}
}
