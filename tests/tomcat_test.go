package tests

import (
	"archive/zip"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/net/websocket"

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
	var agents []*harness.Agent
	for _, name := range []string{"server-1", "server-2"} {
		tc := harness.StartTomcat(t)
		secret := writeFile(t, "manager-password", tc.Password)
		agents = append(agents, p.AddServer(name, "--set", "agent.tomcat.url="+tc.ManagerURL(),
			"--set", "agent.tomcat.user="+tc.User, "--set", "agent.tomcat.password_file="+secret))
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
	webSocketOfTomcat(t, p, vs[0])
	next := unpack(t, war) // a folder is as good as the WAR that it makes
	write(t, next, "release-two.txt", "the second release")
	p.Must("deploy", "examples", next, "--host", "tomcat.test", "--path", "/examples")
	for i, v := range vs {
		if !recalls(t, v, "first", "kept") {
			t.Errorf("visitor %d lost the session attribute through the deploy", i)
		}
	}
	for _, a := range agents { // a Tomcat that the agent did not start outlives it all the more
		restartAgent(t, a)
		for i, v := range vs {
			harness.Eventually(t, time.Minute, func() error { _, _, err := visitOK(v, sessionExample); return err })
			if !recalls(t, v, "first", "kept") {
				t.Errorf("visitor %d lost the session attribute through the restart of %s", i, a.Name)
			}
		}
	}
	fresh := harness.NewVisitor(t, p.HTTP, "tomcat.test")
	if _, body, err := visitOK(fresh, "/examples/release-two.txt"); err != nil || !bytes.Contains(body, []byte("second release")) {
		t.Errorf("a new visitor is not on the second release: %v %s", err, body)
	}
}

// webSocketOfTomcat speaks with an endpoint of the examples, as the client of a Servoy solution does with its own.
func webSocketOfTomcat(t *testing.T, p *harness.Proxy, v *harness.Visitor) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.HTTP, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	config, err := websocket.NewConfig("ws://tomcat.test/examples/websocket/echoProgrammatic", "http://tomcat.test")
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Cookie", "portico-examples="+v.Cookie("portico-examples"))
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		var reply string
		if err := errors.Join(websocket.Message.Send(ws, word), websocket.Message.Receive(ws, &reply)); err != nil || reply != word {
			t.Fatalf("Tomcat's echo of %q is %q, %v", word, reply, err)
		}
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
