package setclock_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/support/written"
)

// TestSetClock: the system's clock is set by 26 hours and back while a visitor stays on a server that drains to a deadline, another one
// beside it, and a command waits for that. Nobody loses a session, nothing ends, and members go on to
// speak with each other. A proxy that is started again meanwhile keeps all that.
func TestSetClock(t *testing.T) {
	if os.Getenv("PORTICO") == "" {
		boot(t)
		return
	}
	w := &world{t: t}
	w.run("proxy", "proxy", "--name", "proxy-1", "--http", site, "--https", "127.0.0.1:8443", "--admin", admin, "--catalog", "127.0.0.1:7445", "--gossip", "127.0.0.1:7946")
	w.eventually("the proxy serves", func() error { _, err := w.try("members"); return err })
	var client struct{ Fingerprint string }
	if b, err := os.ReadFile(filepath.Join(state, "proxy", "client.json")); err != nil || json.Unmarshal(b, &client) != nil {
		t.Fatalf("client.json: %v", err)
	}
	for i, name := range []string{"server-1", "server-2"} {
		w.run(name, "agent", "--dir", filepath.Join(state, name), "--name", name, "--listen", fmt.Sprintf("127.0.0.1:%d", 7500+i), "--gossip", fmt.Sprintf("127.0.0.1:%d", 7600+i),
			"--join", admin, "--fingerprint", client.Fingerprint, "--code", w.must("invite", "--quiet"))
	}
	w.eventually("the agents are accepted", func() error { return w.says("accepted", 3, "members", "--json") })

	w.deploy()
	one, two := newVisitor(), newVisitor()
	w.eventually("the site answers", func() error { _, err := one.get(); return err })
	w.eventually("new visitors are on the other server too", func() error { return two.onAnother(one) })
	waits := w.run("wait", "drain", "server-1", "--deadline", "9h", "--wait", "8h")
	w.eventually("the server drains", func() error { return w.says("server-1", 1, "drain") })

	for _, by := range []time.Duration{26 * time.Hour, -26 * time.Hour, -26 * time.Hour, 52 * time.Hour} {
		w.setClock(by)
		w.stays(waits, fmt.Sprintf("set by %s", by), one, two)
		if by == 52*time.Hour {
			w.again()
			w.stays(waits, "started again", one, two)
		}
	}
}

const site, admin = "127.0.0.1:8080", "127.0.0.1:7443"

// world is what runs in the kernel of the test's own.
type world struct {
	t     *testing.T
	proxy *program
}

// program is a portico that runs.
type program struct {
	cmd *exec.Cmd
	log *written.Buffer
}

func (w *world) run(name string, args ...string) *program {
	w.t.Helper()
	p := &program{cmd: exec.Command(os.Getenv("PORTICO"), args...), log: &written.Buffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	if name == "proxy" {
		w.proxy = p
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("--- %s ---\n%s", name, p.log)
		}
	})
	return p
}

// again ends the proxy and starts it anew.
func (w *world) again() {
	w.t.Helper()
	args := w.proxy.cmd.Args[1:]
	_ = w.proxy.cmd.Process.Signal(syscall.SIGTERM)
	_ = w.proxy.cmd.Wait()
	w.run("proxy", args...)
	w.eventually("the proxy serves again", func() error { _, err := newVisitor().get(); return err })
}

func (w *world) try(args ...string) (string, error) {
	out, err := exec.Command(os.Getenv("PORTICO"), args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("portico %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (w *world) must(args ...string) string {
	w.t.Helper()
	out, err := w.try(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// says reports whether a command's output has a word so often.
func (w *world) says(word string, times int, args ...string) error {
	out, err := w.try(args...)
	if err == nil && strings.Count(out, word) < times {
		err = fmt.Errorf("portico %s: %s", strings.Join(args, " "), out)
	}
	return err
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	began, err := time.Now(), error(nil)
	for time.Since(began) < 5*time.Minute {
		if err = check(); err == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.t.Fatalf("never came: %s: %v", what, err)
}

// deploy installs a site that this process serves at both servers.
func (w *world) deploy() {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })) // until the end of this kernel
	}()
	dir := filepath.Join(state, "site")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	settings := "kind = \"hook\"\nhosts = [\"shop.test\"]\n[hook]\nport = 9000\n"
	if err := os.WriteFile(filepath.Join(dir, "portico.toml"), []byte(settings), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.must("deploy", "shop", dir)
}

func (w *world) setClock(by time.Duration) {
	w.t.Helper()
	before := time.Now()
	v := syscall.NsecToTimeval(before.Add(by).UnixNano())
	if err := syscall.Settimeofday(&v); err != nil {
		w.t.Fatal(err)
	}
	if off := time.Now().Round(0).Sub(before.Round(0)) - by; off.Abs() > time.Minute {
		w.t.Fatalf("the clock is off by %s", off)
	}
}

// stays looks for a while whether everybody is where he was, and everything goes on.
func (w *world) stays(waits *program, when string, visitors ...*visitor) {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < 6*time.Second; time.Sleep(100 * time.Millisecond) {
		for i, v := range visitors {
			if at, err := v.try(); err != nil || at != v.at {
				w.t.Fatalf("%s: visitor %d was at %s and is at %q, %v", when, i+1, v.at, at, err)
			}
		}
	}
	if err := waits.cmd.Process.Signal(syscall.Signal(0)); err != nil || strings.Contains(waits.log.String(), "portico:") {
		w.t.Errorf("%s: the command that waits has ended: %v: %s", when, err, waits.log)
	}
	w.eventually(when+": the drains go on", func() error { return w.says("server-1", 1, "drain") })
	w.eventually(when+": the members speak", func() error { return w.says(" ready ", 1, "members") })
}

// visitor keeps cookies.
type visitor struct {
	client *http.Client
	at     string // the instance that it is with, as its cookie names it
}

func newVisitor() *visitor {
	jar, _ := cookiejar.New(nil) // it cannot fail
	return &visitor{client: &http.Client{Jar: jar, Timeout: time.Minute}}
}

// get visits the site and remembers where.
func (v *visitor) get() (at string, err error) {
	v.at, err = v.try()
	return v.at, err
}

// onAnother visits without cookies of before, to see who takes new visitors.
func (v *visitor) onAnother(than *visitor) error {
	*v = *newVisitor()
	if at, err := v.get(); err != nil || at == than.at {
		return fmt.Errorf("answered by %q, %w", at, err)
	}
	return nil
}

func (v *visitor) try() (string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+site+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = "shop.test"
	resp, err := v.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	at := ""
	for _, c := range v.client.Jar.Cookies(&url.URL{Scheme: "http", Host: req.Host, Path: "/"}) {
		at, _, _ = strings.Cut(c.Value, "|")
	}
	if err == nil && at == "" {
		err = fmt.Errorf("no cookie: %s", body)
	}
	return at, err
}
