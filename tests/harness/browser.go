package harness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"portico/tests/support/written"
)

// Browser is a headless Chromium with one page, driven over its DevTools
// protocol.
type Browser struct {
	t    testing.TB
	conn *websocket.Conn
	next int
}

// StartBrowser starts Chromium with more flags, or skips the test without it. It takes any
// certificate: which one is shown is other tests' business.
func StartBrowser(t testing.TB, flags ...string) *Browser {
	t.Helper()
	chromium := Need(t, "chromium")
	profile := t.TempDir()
	cmd := exec.Command(chromium, append(flags, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--ignore-certificate-errors", "--hide-scrollbars", "--window-size=1400,1000", "--remote-allow-origins=*",
		"--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")...)
	log := &written.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var endpoint string
	Eventually(t, time.Minute, func() error {
		data, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		if err != nil {
			return fmt.Errorf("chromium does not start: %w: %s", err, log.Tail(5))
		}
		port, path, ok := strings.Cut(strings.TrimSpace(string(data)), "\n")
		if !ok {
			return fmt.Errorf("chromium is still starting")
		}
		endpoint = "ws://127.0.0.1:" + port + path
		return nil
	})
	b := &Browser{t: t}
	b.conn = b.dial(endpoint)
	var target struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	b.call("Target.getTargets", nil, &target)
	for _, info := range target.TargetInfos {
		if info.Type == "page" {
			host, _, _ := strings.Cut(strings.TrimPrefix(endpoint, "ws://"), "/")
			b.conn = b.dial("ws://" + host + "/devtools/page/" + info.TargetID)
			b.call("Page.enable", nil, nil)
			return b
		}
	}
	t.Fatal("chromium has no page")
	return nil
}

func (b *Browser) dial(endpoint string) *websocket.Conn {
	b.t.Helper()
	conn, err := websocket.Dial(endpoint, "", "http://127.0.0.1")
	if err != nil {
		b.t.Fatal(err)
	}
	conn.MaxPayloadBytes = 64 << 20
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call sends one command and waits for its answer; events in between are dropped.
func (b *Browser) call(method string, params map[string]any, into any) {
	b.t.Helper()
	b.next++
	if err := b.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		b.t.Fatal(err)
	}
	if params == nil {
		params = map[string]any{}
	}
	if err := websocket.JSON.Send(b.conn, map[string]any{"id": b.next, "method": method, "params": params}); err != nil {
		b.t.Fatal(err)
	}
	for {
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *struct{ Message string }
		}
		if err := websocket.JSON.Receive(b.conn, &answer); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		if answer.ID != b.next {
			continue
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(answer.Result, into); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// Open goes to url and waits until the document has loaded.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.WaitFor(`document.readyState === "complete" && location.href !== "about:blank"`)
}

// Eval runs a script in the page and returns its value as text.
func (b *Browser) Eval(script string) string {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, answer.ExceptionDetails.Text)
	}
	return fmt.Sprint(answer.Result.Value)
}

// Cookies returns how many cookies of each name the browser keeps.
func (b *Browser) Cookies() map[string]int {
	b.t.Helper()
	var all struct{ Cookies []struct{ Name string } }
	b.call("Network.getAllCookies", nil, &all)
	count := map[string]int{}
	for _, c := range all.Cookies {
		count[c.Name]++
	}
	return count
}

// Press sends a key as the keyboard does, such as "Enter", "Tab" or "Escape".
func (b *Browser) Press(key string) {
	b.t.Helper()
	code := map[string]int{"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}[key]
	text := map[string]string{"Enter": "\r", " ": " "}[key]
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}, nil)
		text = ""
	}
}

// WaitFor waits until the script is true in the page.
func (b *Browser) WaitFor(script string) {
	b.t.Helper()
	Eventually(b.t, time.Minute, func() error {
		// Between two documents there is nothing to ask yet.
		if b.Eval("(() => { try { return Boolean("+script+") } catch { return false } })()") != "true" {
			return fmt.Errorf("%s is not true on %s", script, b.Eval(`location.href + " " + (document.body ? document.body.innerText.slice(0, 400) : "")`))
		}
		return nil
	})
}

// Scheme makes the page believe that its user prefers "light" or "dark".
func (b *Browser) Scheme(name string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}}, nil)
}

// JavaScript switches the page's scripts on or off; it takes effect with the next Open.
func (b *Browser) JavaScript(on bool) {
	b.t.Helper()
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": !on}, nil)
}

// Screenshot writes the page as PNG.
func (b *Browser) Screenshot(path string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": false}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
