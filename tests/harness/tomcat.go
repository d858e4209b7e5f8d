package harness

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/support/freeport"
	"portico/tests/support/written"
)

const (
	tomcatHome    = "/usr/share/tomcat10"
	tomcatManager = "/usr/share/tomcat10-admin/manager"
)

// TomcatExamples is the folder of the examples application of the
// distribution's Tomcat.
const TomcatExamples = "/usr/share/tomcat10-examples/examples"

// Tomcat is a running Tomcat with the Manager application.
type Tomcat struct {
	Port     int
	User     string
	Password string

	cmd *exec.Cmd
}

// ManagerURL is where the Manager's text interface answers.
func (tc *Tomcat) ManagerURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d/manager/text", tc.Port)
}

// StartTomcat starts the distribution's Tomcat on a free port with a base
// folder of its own, and ends it with the test. options are for its JVM.
func StartTomcat(t testing.TB, options ...string) *Tomcat {
	t.Helper()
	Need(t, tomcatHome+"/bin/catalina.sh")
	Need(t, tomcatManager+"/WEB-INF/web.xml")
	tc := &Tomcat{Port: freeport.Get(t), User: "portico", Password: "only-for-tests"}
	base := tomcatBase(t, tc)
	cmd := exec.Command(tomcatHome+"/bin/catalina.sh", "run")
	cmd.Env = append(os.Environ(), "CATALINA_HOME="+tomcatHome, "CATALINA_BASE="+base,
		"CATALINA_TMPDIR="+filepath.Join(base, "temp"), "JAVA_OPTS=-Xmx192m -XX:TieredStopAtLevel=1 -Djava.security.egd=file:/dev/urandom "+strings.Join(options, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log := &written.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tc.cmd = cmd
	t.Cleanup(func() {
		tc.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("--- log of Tomcat ---\n%s", log.Tail(40))
		}
	})
	Eventually(t, time.Minute, tc.answers)
	return tc
}

// Kill ends Tomcat as a power cut would.
func (tc *Tomcat) Kill() { _ = syscall.Kill(-tc.cmd.Process.Pid, syscall.SIGKILL) }

func (tc *Tomcat) answers() error {
	req, err := http.NewRequest(http.MethodGet, tc.ManagerURL()+"/list", nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(tc.User, tc.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the Manager answers %s", resp.Status)
	}
	return nil
}

func tomcatBase(t testing.TB, tc *Tomcat) string {
	t.Helper()
	base := TempDir(t)
	for _, dir := range []string{"conf/Catalina/localhost", "lib", "logs", "temp", "webapps", "work"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		"conf/server.xml": fmt.Sprintf(`<Server port="-1"><Service name="Catalina">
<Connector address="127.0.0.1" port="%d" protocol="HTTP/1.1"/>
<Engine name="Catalina" defaultHost="localhost">
<Realm className="org.apache.catalina.realm.MemoryRealm"/>
<Host name="localhost" appBase="webapps" autoDeploy="false" unpackWARs="true"/>
</Engine></Service></Server>`, tc.Port),
		"conf/tomcat-users.xml": fmt.Sprintf(`<tomcat-users><role rolename="manager-script"/>
<user username=%q password=%q roles="manager-script"/></tomcat-users>`, tc.User, tc.Password),
		"conf/Catalina/localhost/manager.xml": fmt.Sprintf(`<Context docBase=%q privileged="true"/>`, tomcatManager),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	web, err := os.ReadFile("/etc/tomcat10/web.xml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "conf/web.xml"), web, 0o644); err != nil {
		t.Fatal(err)
	}
	linkJSPCompiler(t, base)
	return base
}

// linkJSPCompiler puts the compiler that JSP pages need where Tomcat finds it; the
// distribution keeps it with the other Java libraries.
func linkJSPCompiler(t testing.TB, base string) {
	t.Helper()
	for _, name := range []string{"eclipse-jdt-core.jar", "ecj.jar"} {
		jar := filepath.Join("/usr/share/java", name)
		if _, err := os.Stat(jar); err != nil {
			continue
		}
		if err := os.Symlink(jar, filepath.Join(base, "lib", name)); err != nil {
			t.Fatal(err)
		}
	}
}
