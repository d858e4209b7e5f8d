package tests

import (
	"bytes"
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
	zip := exec.Command("zip", "-qr", war, ".")
	zip.Dir = harness.TomcatExamples
	if out, err := zip.CombinedOutput(); err != nil {
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
	next := filepath.Join(t.TempDir(), "examples.war")
	copyFile(t, war, next)
	note := writeFile(t, "release-two.txt", "the second release")
	if out, err := exec.Command("zip", "-qj", next, note).CombinedOutput(); err != nil {
		t.Fatalf("zip: %v: %s", err, out)
	}
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
