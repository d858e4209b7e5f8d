package tests

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// The local administrator's token stays while it is good: a command that waits for hours
// outlives its proxy's restarts. What keeps client.json from being written keeps nobody from
// serving.
func TestLocalAccessOutlivesItsProxy(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 1)
	v := harness.NewVisitor(t, p.HTTP, "node.test")
	v.Get("/")
	before := p.ClientFile()

	waiting := harness.Start(t, "drain --wait", []string{"PORTICO_DIR=" + p.Dir}, "drain", "server-1", "--wait", "10m")
	harness.Eventually(t, time.Minute, logged(waiting, "1 session"))
	p.Kill()
	p.Restart()
	p.WaitReady()
	if after := p.ClientFile(); after != before {
		t.Errorf("after a power cut client.json holds %+v, and held %+v", after, before)
	}
	if got := v.Get("/"); got.Views != 2 {
		t.Errorf("the visitor has %+v", got)
	}
	p.Must("ready", "server-1")
	if code := waiting.Wait(time.Minute); code != 1 || !strings.Contains(waiting.Log(), "somebody took it back") {
		t.Errorf("drain --wait ended with %d:\n%s", code, waiting.Log())
	}

	// An access that is taken away is made anew, and what was in it opens nothing any more.
	p.Stop()
	file := filepath.Join(p.Dir, "client.json")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	harness.Eventually(t, time.Minute, logged(p.Process, "access for local commands not written"))
	v.Get("/")
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, func() error {
		_, err := os.Stat(file)
		return err
	})
	p.WaitReady()
	if status := whoami(t, p, before.Token); status != http.StatusUnauthorized {
		t.Errorf("the token before that one gets %d", status)
	}
}

// whoami is the status that the proxy answers a token with.
func whoami(t *testing.T, p *harness.Proxy, token string) int {
	t.Helper()
	status, body := p.APIWith(token, http.MethodGet, "/v1/whoami", nil)
	t.Log(fmt.Sprint(status), body)
	return status
}
