//go:build unix

package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/tests/support/written"
)

// TestHook: commands install, activate and remove a release in a foreign
// application server (played by the test) that has one port.
func TestHook(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	o := c.options(dir)
	o.HookTimeout = 15 * time.Second // a busy machine runs a script within it
	a := c.start(o)
	data := filepath.Join(dir, "sites", "erp", "data")
	active := filepath.Join(data, "active")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b, err := os.ReadFile(active)
		if err != nil || strings.Contains(string(b), "broken") {
			http.Error(w, "nothing installed", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(b)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })

	release := func(name string) string {
		return c.release(map[string]string{
			"name":      name,
			"install*":  "#!/bin/sh\necho install $PORTICO_SITE $PWD\ntest -f name && echo $PORTICO_RELEASE_DIR > $PORTICO_DATA_DIR/installed\n",
			"activate*": "#!/bin/sh\necho activate $(cat name) on $PORT\ncat name > $PORTICO_DATA_DIR/active\n",
			"remove*":   "#!/bin/sh\necho remove\nrm $PORTICO_DATA_DIR/active\n",
			"hang*":     "#!/bin/sh\nsleep 60\n",
		})
	}
	s := sites.Settings{Kind: sites.KindHook, Hook: sites.Hook{
		Install: []string{"./install"}, Activate: []string{"./activate"}, Remove: []string{"./remove"},
		Port: l.Addr().(*net.TCPAddr).Port,
	}}.WithDefaults("erp")
	s.Health.Interval = units.Duration(100 * time.Millisecond)

	one := release("one")
	c.want(current("erp", one, s))
	first := c.awaitHealthy(one)
	if got := get(t, c.via(a.Addr(), first.ID+".instance"), "/"); got != "one" {
		t.Errorf("the server says %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(data, "installed")); err != nil || strings.TrimSpace(string(b)) != filepath.Join(dir, "sites", "erp", "releases", one) {
		t.Errorf("installed from %q: %v", b, err)
	}

	// A candidate takes the port; the former instance ends with that.
	two := release("two")
	c.want(current("erp", one, s), candidate("erp", two, s, "d1"))
	second := c.awaitHealthy(two)
	if got := get(t, c.via(a.Addr(), second.ID+".instance"), "/"); got != "two" {
		t.Errorf("the server says %q", got)
	}
	retiring := current("erp", one, s)
	retiring.Duty = messages.DutyRetiring
	c.want(current("erp", two, s), retiring)

	// One that fails its checks gives the port back to the current release.
	broken := release("broken")
	impatient := s
	impatient.Deploy.Timeout = units.Duration(5 * time.Second) // in which a busy machine makes a check
	c.want(current("erp", two, s), candidate("erp", broken, impatient, "d2"))
	failed := c.awaitInstance("failed", broken, func(i messages.InstanceReport) bool { return i.Progress.Step == catalog.StepFailed })
	if p := failed.Progress.Probe; p == nil || p.Status != 503 {
		t.Errorf("the last check is %+v", p)
	}
	back := c.awaitInstance("healthy again", two, func(i messages.InstanceReport) bool {
		return i.State == catalog.InstanceHealthy && i.ID != second.ID
	})
	if got := get(t, c.via(a.Addr(), back.ID+".instance"), "/"); got != "two" {
		t.Errorf("after the failure the server says %q", got)
	}

	// A command that hangs is killed.
	hang := s
	hang.Hook.Install = []string{"./hang"}
	three := release("three")
	c.want(current("erp", two, s), candidate("erp", three, hang, "d3"))
	stuck := c.awaitInstance("stuck", three, func(i messages.InstanceReport) bool { return strings.Contains(i.Progress.Detail, "was killed") })
	if !strings.Contains(stuck.Progress.Detail, "hook.install") {
		t.Errorf("detail is %q", stuck.Progress.Detail)
	}

	c.want()
	c.await("nothing left", func(r messages.Report) bool { return len(r.Instances) == 0 })
	if _, err := os.Stat(active); !os.IsNotExist(err) {
		t.Errorf("the remove command has not run: %v", err)
	}
	log := get(t, c.via(a.Addr(), "agent"), "/v1/logs/erp?instance=commands")
	for _, want := range []string{"install erp " + filepath.Join(dir, "sites"), fmt.Sprintf("activate one on %d", s.Hook.Port), "remove"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in the log:\n%s", want, log)
		}
	}
}

// TestHookOfAChangedRelease: no command of a release runs that is not as it was deployed (G6): what installs is
// assembled anew, what removes is not run.
func TestHookOfAChangedRelease(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	dir := t.TempDir()
	o, log := c.options(dir), &written.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	rel := c.release(map[string]string{"activate*": "#!/bin/sh\necho true >> $PORTICO_DATA_DIR/ran\n", "remove*": "#!/bin/sh\necho removed >> $PORTICO_DATA_DIR/ran\n"})
	s := sites.Settings{Kind: sites.KindHook, Hook: sites.Hook{
		Activate: []string{"./activate"}, Remove: []string{"./remove"}, Port: l.Addr().(*net.TCPAddr).Port,
	}}.WithDefaults("erp")
	s.Health.Interval = units.Duration(100 * time.Millisecond)
	_, stop := c.startStop(o)
	c.want(current("erp", rel, s))
	c.awaitHealthy(rel)
	stop()

	evil := "#!/bin/sh\necho evil >> $PORTICO_DATA_DIR/ran\n"
	installed := filepath.Join(dir, "sites", "erp", "releases", rel)
	overwrite(t, filepath.Join(installed, "activate"), evil)
	if err := os.Remove(filepath.Join(dir, "agent", "state.json")); err != nil { // so that it is activated once more
		t.Fatal(err)
	}
	c.start(o)
	c.awaitInstance("healthy again", rel, func(i messages.InstanceReport) bool {
		return i.State == catalog.InstanceHealthy && strings.Contains(log.String(), "assembled anew before its commands run")
	})
	overwrite(t, filepath.Join(installed, "remove"), evil)
	c.want()
	eventually(t, "the removal is refused", func() bool {
		return strings.Contains(log.String(), "site not removed from its application server") && strings.Contains(log.String(), "check release: remove in ")
	})
	if b, err := os.ReadFile(filepath.Join(dir, "sites", "erp", "data", "ran")); err != nil || string(b) != "true\ntrue\n" {
		t.Errorf("what ran: %q, %v", b, err)
	}
}
