package tests

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// A browser speaks HTTP/2 with a site: pages, uploads, events and WebSockets over one connection, in one session.
func TestBrowserOverHTTP2(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	access := filepath.Join(t.TempDir(), "access.log")
	_, origin := nodeOverTLS(t, "--set", "log.access="+access)
	b := harness.StartBrowser(t)
	b.Open(origin + "/")
	if by := b.Eval(`performance.getEntriesByType("navigation")[0].nextHopProtocol`); by != "h2" {
		t.Errorf("the page came by %s, want h2", by)
	}
	const view = `fetch("/").then(r => r.json()).then(v => v.views)`
	before := b.Eval(view)
	const upload = `(async () => {
		const body = new Uint8Array(3 << 20).map((_, i) => i * 7);
		const hash = await crypto.subtle.digest("SHA-256", body);
		const want = Array.from(new Uint8Array(hash), b => b.toString(16).padStart(2, "0")).join("");
		const got = await (await fetch("/upload", {method: "POST", body})).json();
		return got.size + " " + (got.sha256 === want);
	})()`
	if got := b.Eval(upload); got != "3145728 true" {
		t.Errorf("an upload: %s", got)
	}
	const events = `new Promise((done, failed) => {
		const source = new EventSource("/events"), seen = [];
		source.onmessage = e => { seen.push(e.data); seen.length < 5 ? fetch("/next") : (source.close(), done(seen.join())); };
		source.onerror = () => failed("the stream broke off after " + seen);
	})`
	if got := b.Eval(events); got != "1,2,3,4,5" {
		t.Errorf("events: %s", got)
	}
	const socket = `new Promise((done, failed) => {
		const s = new WebSocket(location.origin.replace("https", "wss") + "/ws"), seen = [];
		s.onopen = () => s.send("a");
		s.onmessage = e => { seen.push(e.data); seen.length < 3 ? s.send("b") : s.close(1000); };
		s.onclose = e => done(seen.join() + " " + e.code);
		s.onerror = () => failed("it broke off after " + seen);
	})`
	if got := b.Eval(socket); got != "server-1:a,server-1:b,server-1:b 1000" && !strings.HasPrefix(got, "server-1:a,server-1:b,server-1:b ") {
		t.Errorf("a WebSocket: %s", got)
	}
	views := b.Eval(fmt.Sprintf(`%s.then(v => v - %s)`, view, before))
	harness.Eventually(t, time.Minute, func() error {
		log, err := os.ReadFile(access)
		if err != nil {
			return err
		}
		icon := requestLine(log, "/favicon.ico") != "" // the browser asks for it at a time of its own
		if views != "1" && (views != "2" || !icon) {
			return errf("the session has seen %s views since, want 1, and 1 for an icon (asked for: %v)", views, icon)
		}
		return nil
	})
	harness.Eventually(t, time.Minute, func() error {
		log, err := os.ReadFile(access)
		if err != nil {
			return err
		}
		if line := requestLine(log, "/ws"); !strings.Contains(line, "HTTP/2.0") {
			return errf("the WebSocket is logged as %q", line)
		}
		return nil
	})
}

// requestLine is the access log's last line for a path.
func requestLine(log []byte, path string) string {
	last := ""
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, fmt.Sprintf("%q", path)) {
			last = line
		}
	}
	return last
}

// nodeOverTLS starts a proxy and a server with the Node site, and returns where browsers reach it.
func nodeOverTLS(t *testing.T, args ...string) (*harness.Proxy, string) {
	t.Helper()
	p, _ := startWithCertificate(t, args...)
	p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "localhost")
	settled(t, p, "node", 1)
	_, port, err := net.SplitHostPort(p.HTTPS)
	if err != nil {
		t.Fatal(err)
	}
	return p, "https://localhost:" + port
}

// failures are the first lines of an access log about requests that the proxy could not have answered.
func failures(log []byte) string {
	var out []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"status":5`) && len(out) < 5 {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// The programs that people try HTTP/2 with get what they ask for.
func TestProgramsOverHTTP2(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	for _, program := range []string{"curl", "nghttp", "h2load"} {
		harness.Need(t, program)
	}
	access := filepath.Join(t.TempDir(), "access.log")
	p, origin := nodeOverTLS(t, "--set", "log.access="+access)
	run := func(program string, args ...string) string {
		t.Helper()
		out, err := exec.Command(program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	t.Run("curl", func(t *testing.T) {
		if got := run("curl", "-sS", "-k", "--http2", "-w", "|%{http_version}", origin+"/healthz"); got != "ok|2" {
			t.Errorf("got %q", got)
		}
		body := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
		file := filepath.Join(t.TempDir(), "body")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		for _, how := range [][]string{{"--data-binary", "@" + file}, {"-T", file, "-X", "POST"}, {"-H", "Expect: 100-continue", "--data-binary", "@" + file}} {
			got := run("curl", append([]string{"-sS", "-k", "--http2", origin + "/upload"}, how...)...)
			if !strings.Contains(got, hex.EncodeToString(sum[:])) {
				t.Errorf("upload with %v: %s", how, got)
			}
		}
	})
	t.Run("curl, answered early", func(t *testing.T) { // the application answers without a look at the body
		file := filepath.Join(t.TempDir(), "body")
		if err := os.WriteFile(file, make([]byte, 200_000), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			for _, body := range []string{"a=b", "@" + file} {
				if got := run("curl", "-sS", "-k", "--http2", "--data-binary", body, origin+"/healthz"); got != "ok" {
					t.Errorf("got %q", got)
				}
			}
		}
	})
	t.Run("nghttp", func(t *testing.T) {
		if got := run("nghttp", "-n", "-s", "--no-verify-peer", origin+"/healthz", origin+"/"); strings.Count(got, " 200 ") != 2 {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("h2load", func(t *testing.T) {
		half := time.AfterFunc(100*time.Millisecond, func() { p.Signal(syscall.SIGHUP) }) // a reload is nobody's business
		defer half.Stop()
		got := run("h2load", "-n", "5000", "-c", "5", "-m", "50", origin+"/healthz")
		if !strings.Contains(got, "5000 succeeded, 0 failed, 0 errored, 0 timeout") {
			log, _ := os.ReadFile(access)
			t.Errorf("got\n%s\n%s", got, failures(log))
		}
	})
}
