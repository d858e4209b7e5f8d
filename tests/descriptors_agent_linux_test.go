package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/tests/harness"
)

// TestAgentKeepsDescriptors: visitors with WebSockets use up the descriptors of an agent. It fetches and starts another site all the same,
// which is served as soon as they have gone.
func TestAgentKeepsDescriptors(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.StartAgent("server-1", "--code", strings.TrimSpace(p.Must("invite", "--quiet")))
	var limit unix.Rlimit
	if err := unix.Prlimit(a.Pid(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur, limit.Max = 200, 200
	if err := unix.Prlimit(a.Pid(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	p.WaitMember("server-1", "accepted")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	settled(t, p, "shop", 1)

	var mu sync.Mutex
	count := map[int]int{}
	var open []net.Conn
	var all sync.WaitGroup
	for range 150 {
		all.Go(func() {
			c, status := webSocketTo(p.HTTP, "shop.test")
			mu.Lock()
			defer mu.Unlock()
			count[status]++
			open = append(open, c)
		})
	}
	all.Wait()
	t.Logf("%v of 150 visitors", count)
	if count[101] < 20 || count[101] > 75 {
		t.Errorf("%v of 150 visitors, want the most that 200 descriptors are good for", count)
	}
	if !strings.Contains(a.Log(), "descriptors are short") {
		t.Error("the agent has not said what is short")
	}
	p.Must("deploy", "news", harness.App("static"), "--host", "news.test", "--detach")
	harness.Eventually(t, time.Minute, func() error {
		if !strings.Contains(a.Log(), `"instance healthy" site=news`) {
			return errf("the site has not been started")
		}
		return nil
	})
	for _, c := range open {
		if c != nil {
			_ = c.Close()
		}
	}
	harness.Eventually(t, time.Minute, func() error {
		c, status := webSocketTo(p.HTTP, "shop.test")
		if c != nil {
			_ = c.Close()
		}
		if status != 101 {
			return errf("afterwards a visitor gets %d", status)
		}
		return nil
	})
	news := harness.NewVisitor(t, p.HTTP, "news.test")
	harness.Eventually(t, time.Minute, func() error {
		resp, _, err := news.Do(http.MethodGet, "/", nil)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errf("the new site answers %d", resp.StatusCode)
		}
		return err
	})
}

// webSocketTo opens a WebSocket and leaves it open. The status is 0 where there was no answer.
func webSocketTo(addr, host string) (net.Conn, int) {
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return nil, 0
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	_, _ = io.WriteString(c, fmt.Sprintf("GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://%s\r\n\r\n", host, host))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return c, 0
	}
	return c, resp.StatusCode
}
