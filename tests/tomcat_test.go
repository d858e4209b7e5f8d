package tests

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"portico/tests/harness"
)

// Tomcat's own examples, deployed as a WAR to two Tomcats: its session example
// keeps what it is given in the memory of one of them.
func TestTomcatExamples(t *testing.T) {
	t.Parallel()
	harness.Need(t, harness.TomcatExamples+"/WEB-INF/web.xml")
	harness.Need(t, "zip")
	war := filepath.Join(t.TempDir(), "examples.war")
	pack := exec.Command("zip", "-qr", war, ".")
	pack.Dir = harness.TomcatExamples
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("zip: %v: %s", err, out)
	}

	p := harness.StartProxy(t)
	for _, name := range []string{"server-1", "server-2"} {
		tc := harness.StartTomcat(t)
		secret := writeFile(t, "manager-password", tc.Password)
		p.AddServer(name, "--set", "agent.tomcat.url="+tc.ManagerURL(),
			"--set", "agent.tomcat.user="+tc.User, "--set", "agent.tomcat.password_file="+secret)
	}
	p.Must("deploy", "examples", war, "--host", "tomcat.test", "--path", "/examples")

	vs := make([]*harness.Visitor, 10)
	for i := range vs {
		vs[i] = harness.NewVisitor(t, p.HTTP, "tomcat.test")
		remember(t, vs[i], "first", "kept")
	}
	for range 3 {
		for i, v := range vs {
			if !recalls(t, v, "first", "kept") {
				t.Fatalf("visitor %d lost the session attribute", i)
			}
		}
	}
	next := unpack(t, war) // a folder is as good as the WAR that it makes
	write(t, next, "release-two.txt", "the second release")
	p.Must("deploy", "examples", next, "--host", "tomcat.test", "--path", "/examples")
	for i, v := range vs {
		if !recalls(t, v, "first", "kept") {
			t.Errorf("visitor %d lost the session attribute through the deploy", i)
		}
	}
	fresh := harness.NewVisitor(t, p.HTTP, "tomcat.test")
	if _, body, err := visitOK(fresh, "/examples/release-two.txt"); err != nil || !bytes.Contains(body, []byte("second release")) {
		t.Errorf("a new visitor is not on the second release: %v %s", err, body)
	}
}

// unpack makes a folder of a WAR.
func unpack(t *testing.T, war string) string {
	t.Helper()
	z, err := zip.OpenReader(war)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, z); err != nil {
		t.Fatal(err)
	}
	return dir
}

const sessionExample = "/examples/servlets/servlet/SessionExample"

func remember(t *testing.T, v *harness.Visitor, name, value string) {
	t.Helper()
	if _, _, err := visitOK(v, sessionExample+"?dataname="+name+"&datavalue="+value); err != nil {
		t.Fatal(err)
	}
}

func recalls(t *testing.T, v *harness.Visitor, name, value string) bool {
	t.Helper()
	_, body, err := visitOK(v, sessionExample)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(name + `\s*=\s*` + value).Match(body)
}
