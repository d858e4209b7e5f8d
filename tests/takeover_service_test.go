//go:build linux || darwin

package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// A service manager that keeps the listening sockets, as systemd does, restarts the proxy without a
// refused connection: who comes while none runs waits for the next one.
func TestServiceManagerKeepsTheSockets(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer site.Close()
	config := filepath.Join(t.TempDir(), "portico.toml")
	text := fmt.Sprintf("[tls]\nacme = \"\"\n[[site]]\nname = \"shop\"\nhosts = [\"shop.test\"]\n[[site.upstream]]\nname = \"one\"\naddr = %q\n", site.Listener.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := harness.TempDir(t)
	manager, path := notifySocket(t)
	addr := harness.Addr(t)
	args := []string{
		"proxy", "--config", config, "--dir", dir, "--name", "proxy-1", "--http", addr, "--https", "",
		"--admin", harness.Addr(t), "--catalog", harness.Addr(t), "--gossip", harness.Addr(t),
	}
	first := harness.Start(t, "proxy-1", []string{"NOTIFY_SOCKET=" + path}, args...)
	stored := map[string]*os.File{}
	for ready := false; !ready || len(stored) < 2; {
		state, file := receive(t, manager)
		ready = ready || strings.HasPrefix(state, "READY=1")
		if _, name, ok := strings.Cut(state, "FDSTORE=1\nFDNAME="); ok {
			stored[name] = file
		}
	}
	if stored["http"] == nil || stored["admin"] == nil {
		t.Fatalf("stored: %v", stored)
	}
	first.Signal(syscall.SIGTERM)
	if code := first.Wait(time.Minute); code != 0 {
		t.Fatalf("the first proxy ended with %d", code)
	}
	early, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("while no proxy runs: %v", err)
	}
	defer early.Close()
	_ = early.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(early, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}

	// The process id must be the proxy's own, so that the shell in between gives it.
	shell := []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=http:admin exec "$0" "$@"`}
	second := harness.StartWith(t, []*os.File{stored["http"], stored["admin"]}, shell, "proxy-1 again", nil, args...)
	resp, err := http.ReadResponse(bufio.NewReader(early), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || string(body) != "hello" {
		t.Errorf("who waited got %s %q (%v)", resp.Status, body, err)
	}
	harness.Eventually(t, time.Minute, logged(second, "listening socket of the service manager"))
}

// notifySocket listens as a service manager does.
func notifySocket(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, path
}

// receive returns the next message of a service, with the file that came with it, if one did.
func receive(t *testing.T, c *net.UnixConn) (string, *os.File) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	b, oob := make([]byte, 4096), make([]byte, 256)
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		if fds, err := syscall.ParseUnixRights(&messages[i]); err == nil && len(fds) == 1 {
			f := os.NewFile(uintptr(fds[0]), "stored")
			t.Cleanup(func() { _ = f.Close() })
			return string(b[:n]), f
		}
	}
	return string(b[:n]), nil
}

// An event stream outlives two take-overs in the process that has it. It ends when the proxy is stopped: the
// present process tells the one before it, and that one the one before.
func TestStreamsEndWithTheProxyNotWithTheProcess(t *testing.T) {
	t.Parallel()
	goOn, asked := make(chan struct{}), make(chan struct{}, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		asked <- struct{}{}
		for {
			select {
			case <-goOn:
				_, _ = io.WriteString(w, "data: on\n\n")
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	defer site.Close()
	config := filepath.Join(t.TempDir(), "portico.toml")
	text := fmt.Sprintf("[tls]\nacme = \"\"\n[proxy.timeouts]\ndrain = \"1s\"\n[[site]]\nname = \"shop\"\nhosts = [\"shop.test\"]\n"+
		"[site.health]\ntype = \"tcp\"\n[[site.upstream]]\nname = \"one\"\naddr = %q\n", site.Listener.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.StartProxy(t, "--config", config)
	settled(t, p, "shop", 1)
	req, _ := http.NewRequest(http.MethodGet, "http://"+p.HTTP+"/", nil)
	req.Host = "shop.test"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-asked
	events := bufio.NewReader(resp.Body)

	first := p.Process
	second := first.Successor()
	harness.Eventually(t, time.Minute, logged(second, "taken over"))
	p.Process = second.Successor()
	harness.Eventually(t, time.Minute, logged(p.Process, "taken over"))
	want := fmt.Sprintf("old process of proxy-1 (pid %d): 1 stream since ", first.Pid())
	for range 3 { // seconds, each longer than the drain time
		<-time.After(time.Second)
		goOn <- struct{}{}
		if line, err := events.ReadString('\n'); err != nil || line != "data: on\n" {
			t.Fatalf("after two take-overs an event stream brings %q: %v", line, err)
		}
		_, _ = events.ReadString('\n')
	}
	if out := p.Must("members"); !strings.Contains(out, want) || strings.Count(out, "old process") != 1 {
		t.Errorf("portico members says\n%s", out)
	}
	p.Stop()
	if _, err := io.ReadAll(events); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	for _, old := range []*harness.Process{first, second} {
		if code := old.Wait(time.Minute); code != 0 {
			t.Errorf("a former process ended with %d", code)
		}
	}
}
