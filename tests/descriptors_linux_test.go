package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/tests/harness"
)

// purges is longer than etcd waits between two looks at old files, for which it needs a descriptor.
const purges = 40 * time.Second

// A proxy that may open 200 descriptors meets 300 clients, who stay: who comes too late is told
// 503, who was there is served or told, the process does not spin, the cluster is changed as ever, for
// as long as they stay, and when they go everything is as before (Z2).
func TestDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }))
	defer origin.Close()
	config := writeFile(t, "portico.toml", fmt.Sprintf(`
[[site]]
name = "shop"
hosts = ["shop.test"]
[site.session]
sticky = "none"
[[site.upstream]]
name = "one"
addr = %q
`, origin.Listener.Addr().String()))
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			addr, dir := harness.Addr(t), harness.TempDir(t)
			p := harness.StartIn(t, []string{"sh", "-c", `ulimit -n 200 && exec "$0" "$@"`}, "proxy", nil,
				"proxy", "--config", config, "--dir", dir, "--name", "proxy-1", "--http", addr, "--https", "", "--engine", engine,
				"--admin", harness.Addr(t), "--catalog", harness.Addr(t), "--gossip", harness.Addr(t))
			served := func() error {
				c := newShort(addr)
				defer c.close()
				if got := c.get(); got != 200 {
					return errf("a client gets %d (%v)", got, c.err)
				}
				return nil
			}
			harness.Eventually(t, 60*time.Second, served)
			var all []*short
			defer func() {
				for _, c := range all {
					c.close()
				}
			}()
			count := map[int]int{}
			for range 300 {
				c := newShort(addr)
				all = append(all, c)
				count[c.get()]++
			}
			t.Logf("%v of 300 clients", count)
			if count[200] < 20 || count[503] < 20 {
				t.Errorf("clients got %v, want some 200 and some 503", count)
			}
			before := cpuTicks(t, p.Pid())
			<-time.After(2 * time.Second) // nothing happens in this time, and that is what is measured
			if used := cpuTicks(t, p.Pid()) - before; used > 100 {
				t.Errorf("the process used %d hundredths of a second of 200 while nothing could happen", used)
			}
			change := func(when string) {
				name := "viewer-" + when
				if r := harness.Run(t, nil, "account", "add", name, "--role", "viewer", "--dir", dir); r.Code != 0 {
					t.Errorf("%s: a change is refused: exit %d\n%s", when, r.Code, r.Stderr)
				}
			}
			change("during")
			for end := time.Now().Add(purges); time.Now().Before(end); {
				<-time.After(time.Second) // clients go on coming
				c := newShort(addr)
				all = append(all, c)
				_ = c.get()
			}
			change("later")
			if log := p.Log(); strings.Contains(log, "catalog takes no changes") || !strings.Contains(log, "descriptors are short") {
				t.Error("the catalog has stopped, or nothing is said of the descriptors: see the log")
			}
			for _, c := range all {
				if !c.open {
					continue
				}
				if got := c.get(); got != 200 && got != 503 {
					t.Errorf("a client that was there gets %d (%v)", got, c.err)
				}
				break
			}
			for _, c := range all {
				c.close()
			}
			harness.Eventually(t, 60*time.Second, served)
			change("after")
		})
	}
}

// TestCatalogOpensAgain: etcd finds no descriptor for its look at old files, and stops. Traffic goes on, and the catalog opens again by
// itself when there are descriptors.
func TestCatalogOpensAgain(t *testing.T) {
	t.Parallel()
	dir := harness.TempDir(t)
	p := harness.Start(t, "proxy", nil, "proxy", "--dir", dir, "--name", "proxy-1", "--http", harness.Addr(t), "--https", "",
		"--admin", harness.Addr(t), "--catalog", harness.Addr(t), "--gossip", harness.Addr(t))
	change := func(name string) error {
		if r := harness.Run(t, nil, "account", "add", name, "--role", "viewer", "--dir", dir); r.Code != 0 {
			return errf("exit %d\n%s", r.Code, r.Stderr)
		}
		return nil
	}
	harness.Eventually(t, 60*time.Second, func() error { return change("before") })
	var had unix.Rlimit
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, nil, &had); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 1, Max: had.Max}
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 120*time.Second, func() error {
		if !strings.Contains(p.Log(), "the catalog takes no changes until it has been opened again") {
			return errf("the catalog has not stopped: this test tests nothing")
		}
		return nil
	})
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, &had, nil); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 120*time.Second, func() error { return change("after") })
}

// short is a client on a connection of its own.
type short struct {
	fields string // of its requests, beside Host

	conn net.Conn
	r    *bufio.Reader
	err  error
	open bool // after an answer
}

func newShort(addr string) *short {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return &short{err: err}
	}
	return &short{conn: c, r: bufio.NewReader(c)}
}

func (s *short) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// get returns the status of the answer to one request; 0: there was none.
func (s *short) get() int {
	s.open = false
	if s.conn == nil {
		return 0
	}
	_ = s.conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, werr := io.WriteString(s.conn, "GET / HTTP/1.1\r\nHost: shop.test\r\n"+s.fields+"\r\n")
	resp, err := http.ReadResponse(s.r, nil) // a refusal can come before the request is sent
	if err != nil {
		s.err = errors.Join(werr, err)
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	s.open = !resp.Close
	return resp.StatusCode
}

// cpuTicks is the processor time of a process, in hundredths of a second.
func cpuTicks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return user + system
}
