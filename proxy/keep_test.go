package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/internal/units"
	"portico/proxy/exchange/exchangetest/rig"
)

// keeper is an origin that remembers which requests came on which of its connections.
type keeper struct {
	*rig.Origin
	mu    sync.Mutex
	conns map[net.Conn]int
	seen  []int // the number of the connection of each request that is no check, guarded by mu
}

// keepsConnections answers every request, with the further fields.
func keepsConnections(t *testing.T, fields string) *keeper {
	k := &keeper{conns: map[net.Conn]int{}}
	k.Origin = rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		if !strings.Contains(r, "portico-check") {
			k.mu.Lock()
			if k.conns[c] == 0 {
				k.conns[c] = len(k.conns) + 1
			}
			k.seen = append(k.seen, k.conns[c])
			k.mu.Unlock()
		}
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"+fields+"Content-Length: 2\r\n\r\nok")
		return err == nil
	})
	return k
}

func (k *keeper) order() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(k.seen)
}

// asks sends requests on one connection, one after the other, with a pause between them.
func asks(t *testing.T, addr string, pause time.Duration, methods ...string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(waitTime))
	br := bufio.NewReader(c)
	for i, m := range methods {
		if i > 0 {
			time.Sleep(pause) // how long the connection to the instance waits
		}
		_, _ = fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n", m)
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if b, _ := io.ReadAll(res.Body); string(b) != "ok" {
			t.Errorf("%s: %d %q", m, res.StatusCode, b)
		}
	}
}

// TestKeepAliveIsObeyed: a connection waits a second less than its application says in Keep-Alive, and not at all when that is none.
func TestKeepAliveIsObeyed(t *testing.T) {
	for fields, want := range map[string]string{
		"":                                       "[1 1 1]",
		"Keep-Alive: timeout=60, max=100\r\n":    "[1 1 1]",
		"Keep-Alive: max=100, Timeout=\"1\"\r\n": "[1 2 3]",
		"Keep-Alive: timeout=0\r\n":              "[1 2 3]",
		"Keep-Alive: timeout=x\r\n":              "[1 1 1]",
	} {
		o := keepsConnections(t, fields)
		f := start(t, options(), site(o.Addr()))
		if asks(t, f.http, 0, "GET", "GET", "POST"); o.order() != want {
			t.Errorf("%q: connections %s, want %s", fields, o.order(), want)
		}
	}
	o := keepsConnections(t, "Keep-Alive: timeout=2\r\n")
	f := start(t, options(), site(o.Addr()))
	if asks(t, f.http, 1100*time.Millisecond, "GET", "GET"); o.order() != "[1 2]" {
		t.Errorf("a second after the application's last word: connections %s", o.order())
	}
}

// TestStaticIdleTimeout: a connection to an upstream of the configuration file waits for less than five seconds, or as its site says.
func TestStaticIdleTimeout(t *testing.T) {
	opt := options()
	opt.Conf.Connections.Idle, opt.Conf.Connections.IdleTimeout = 64, units.Duration(30*time.Second)
	short, long := keepsConnections(t, ""), keepsConnections(t, "")
	a, b := site(short.Addr()), site(long.Addr())
	b.IdleTimeout = units.Duration(time.Minute)
	fa, fb := start(t, opt, a), start(t, opt, b)
	var wg sync.WaitGroup
	wg.Go(func() { asks(t, fa.http, 4100*time.Millisecond, "GET", "GET") })
	asks(t, fb.http, 4100*time.Millisecond, "GET", "GET")
	wg.Wait()
	if short.order() != "[1 2]" || long.order() != "[1 1]" {
		t.Errorf("after four seconds: connections %s, and with an idle_timeout of a minute %s", short.order(), long.order())
	}
}

// TestFirstRequestIsSafe: what cannot go again is not risked on a kept connection when it is the first request of a client: browsers
// send again what failed on a connection that they have used before, and nothing else.
func TestFirstRequestIsSafe(t *testing.T) {
	o := keepsConnections(t, "")
	f := start(t, options(), site(o.Addr()))
	asks(t, f.http, 0, "GET", "POST")
	asks(t, f.http, 0, "POST", "POST", "GET")
	asks(t, f.http, 0, "GET")
	asks(t, f.http, 0, "POST")
	// The third client's request is a safe one: it may go on any connection that is idle.
	used := strings.Fields(strings.Trim(o.order(), "[]"))
	if len(used) != 7 || used[0] != used[1] || slices.Contains(used[:2], used[2]) || used[2] != used[3] || used[3] != used[4] || slices.Contains(used[:6], used[6]) {
		t.Errorf("connections %s: a first request that is not safe shares one", o.order())
	}
}
