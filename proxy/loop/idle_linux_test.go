package loop_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
	"portico/tests/support/race"
)

// idleServer makes the test's binary a server and nothing else: clients in the same process would be measured with it.
const idleServer = "PORTICO_TEST_IDLE_SERVER"

// TestIdleServer serves for TestIdleMemory until its input ends.
func TestIdleServer(t *testing.T) {
	if os.Getenv(idleServer) == "" {
		return // not asked for
	}
	ln, _ := rig.H2Listener(t)
	addr, _ := rig.Start(t, loops(1), exchange.Options{Config: exchange.Config{Handler: measurer{to: &exchange.Upstream{Addr: swallower(t)}}}, Listeners: []exchange.Listener{ln}})
	cert := ln.TLS.Certificates[0].Certificate[0]
	fmt.Printf("serving %s %x\n", addr, cert)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// swallower is an origin that keeps nothing of what it is sent.
func swallower(t *testing.T) string {
	return rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, table.Hello)
		}
	}).Addr()
}

// measurer sends uploads on and answers the rest by itself: "/memory" with how much is in use.
type measurer struct {
	*mixer
	to *exchange.Upstream
}

func (m measurer) Route(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
	if r.Length > 0 {
		d.Upstream = m.to
		return
	}
	d.Verdict, d.Status = exchange.Answer, 200
	if string(r.Path) == "/memory" {
		runtime.GC() // the loop waits for it, and nothing moves meanwhile
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		d.Body = strconv.AppendUint(nil, m.HeapAlloc, 10)
	}
}

// TestIdleMemory: a connection over TLS that waits holds 8 KiB at most, whichever version of HTTP it speaks, however large a key its client
// began with, and whatever it has uploaded before.
func TestIdleMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's own memory would be measured; make test runs this without it")
	}
	const conns = 500
	for name, tt := range map[string]struct {
		proto string
		curve tls.CurveID
		body  int
		most  int
	}{
		"http/1.1": {"http/1.1", tls.X25519, 0, 6 << 10}, "http/1.1 with ML-KEM": {"http/1.1", tls.X25519MLKEM768, 0, 6 << 10},
		"h2": {"h2", tls.X25519, 0, 8 << 10}, "h2 with ML-KEM": {"h2", tls.X25519MLKEM768, 0, 8 << 10},
		"http/1.1 after an upload": {"http/1.1", tls.X25519, 64 << 10, 8 << 10}, "h2 after an upload": {"h2", tls.X25519, 64 << 10, 8 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			addr, cfg := startIdleServer(t)
			cfg.NextProtos, cfg.CurvePreferences = []string{tt.proto}, []tls.CurveID{tt.curve}
			body := strings.Repeat("x", tt.body)
			var open []func(path, body string) string
			for range 50 { // what the first ones need for all
				open = append(open, idleClient(t, addr, cfg))
				open[len(open)-1]("/", body)
			}
			before := heapOf(t, open[0])
			for range conns {
				f := idleClient(t, addr, cfg)
				f("/", body)
				f("/", body)
				open = append(open, f)
			}
			each := 0
			for range 20 { // what a longer record needed goes a second later
				if each = (heapOf(t, open[0]) - before) / conns; each <= tt.most {
					break
				}
				time.Sleep(200 * time.Millisecond)
			}
			t.Logf("%d bytes for each of %d connections", each, conns)
			if each > tt.most {
				t.Errorf("an idle connection holds %d bytes, want at most %d", each, tt.most)
			}
		})
	}
}

func heapOf(t *testing.T, ask func(path, body string) string) int {
	t.Helper()
	n, err := strconv.Atoi(ask("/memory", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func startIdleServer(t *testing.T) (string, *tls.Config) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestIdleServer$")
	cmd.Env = append(os.Environ(), idleServer+"=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := cmd.Start(); err1 != nil || err2 != nil || err != nil {
		t.Fatal(err1, err2, err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	var addr string
	var der []byte
	if _, err := fmt.Sscanf(line, "serving %s %x", &addr, &der); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return addr, &tls.Config{RootCAs: pool, ServerName: "a"}
}

// idleClient opens a connection and returns what asks for something on it.
func idleClient(t *testing.T, addr string, cfg *tls.Config) func(path, body string) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	var rt http.RoundTripper
	if cfg.NextProtos[0] == "h2" {
		tr := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
		t.Cleanup(tr.CloseIdleConnections)
		rt = tr
	} else {
		rt = plainOver{c, bufio.NewReader(c)}
	}
	return func(path, body string) string {
		r, _ := http.NewRequest(http.MethodPost, "https://a"+path, strings.NewReader(body))
		a, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// plainOver speaks HTTP/1.1 over a connection.
type plainOver struct {
	c  net.Conn
	br *bufio.Reader
}

func (p plainOver) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(p.c); err != nil {
		return nil, err
	}
	return http.ReadResponse(p.br, r)
}
