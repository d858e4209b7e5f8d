package tests

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"portico/tests/harness"
)

// WebSocket, server-sent events and uploads larger than any buffer, through the
// proxy and the agent to a Node application.
func TestStreams(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	app := changed(t, harness.App("node"), "portico.toml", "\n[limits]\nbody = \"512MiB\"\n")
	p.Must("deploy", "node", app, "--host", "node.test")
	t.Run("websocket", func(t *testing.T) { webSocketStays(t, p) })
	t.Run("events", func(t *testing.T) { eventsArriveOneByOne(t, p) })
	t.Run("upload", func(t *testing.T) { uploadIsStreamed(t, p) })
}

func webSocketStays(t *testing.T, p *harness.Proxy) {
	v := harness.NewVisitor(t, p.HTTP, "node.test")
	home := v.Get("/").Server
	conn, err := net.DialTimeout("tcp", p.HTTP, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	config, err := websocket.NewConfig("ws://node.test/echo", "http://node.test")
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Cookie", "portico-node="+v.Cookie("portico-node"))
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		if err := websocket.Message.Send(ws, word); err != nil {
			t.Fatal(err)
		}
		var reply string
		if err := websocket.Message.Receive(ws, &reply); err != nil || reply != home+":"+word {
			t.Fatalf("the echo of %q is %q, %v; the visitor is on %s", word, reply, err, home)
		}
	}
}

func eventsArriveOneByOne(t *testing.T, p *harness.Proxy) {
	v := harness.NewVisitor(t, p.HTTP, "node.test")
	v.Get("/") // the events and what asks for them go to one server
	req, err := http.NewRequest(http.MethodGet, "http://node.test/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := v.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	arrived := 0
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "data: ") {
			continue
		}
		// A buffering proxy would hand over all five at the end: with it the second is never asked for.
		if arrived++; arrived < 5 {
			if _, body, err := v.Do(http.MethodGet, "/next", nil); err != nil || string(body) != "ok" {
				t.Fatalf("asking for another event: %q, %v", body, err)
			}
		}
	}
	if arrived != 5 || lines.Err() != nil {
		t.Errorf("%d events arrived; %v", arrived, lines.Err())
	}
}

func uploadIsStreamed(t *testing.T, p *harness.Proxy) {
	const size = 256 << 20
	before := residentMemory(t, p.Pid())
	sum := sha256.New()
	v := harness.NewVisitor(t, p.HTTP, "node.test")
	body := io.TeeReader(io.LimitReader(rand.Reader, size), sum)
	resp, data, err := v.Do(http.MethodPost, "/upload", body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("upload: %v %v %.200s", err, resp, data)
	}
	var got struct {
		Size   int64
		SHA256 string
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Size != size || got.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("the application got %d bytes, digest %.12s; want %d", got.Size, got.SHA256, size)
	}
	if grown := residentMemory(t, p.Pid()) - before; grown > size/4 {
		t.Errorf("the proxy grew by %d MiB during an upload of %d MiB", grown>>20, size>>20)
	}
}

// residentMemory returns the bytes of memory that the process holds, 0 where
// the system does not tell.
func residentMemory(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}
