package tests

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestShortDescriptorsAreNoInstancesFault: a proxy whose clients leave no descriptors for connections to the instance says so to who
// comes then, and the instance stays in rotation: it was never asked.
func TestShortDescriptorsAreNoInstancesFault(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			release := make(chan struct{})
			var once sync.Once
			free := func() { once.Do(func() { close(release) }) }
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Hold") != "" {
					<-release
				}
				_, _ = io.WriteString(w, "served")
			}))
			defer origin.Close()
			defer free()
			config := writeFile(t, "portico.toml", fmt.Sprintf("[[site]]\nname = \"shop\"\nhosts = [\"shop.test\"]\n[[site.upstream]]\nname = \"one\"\naddr = %q\n",
				origin.Listener.Addr().String()))
			addr := harness.Addr(t)
			p := harness.StartIn(t, []string{"sh", "-c", `ulimit -n 200 && exec "$0" "$@"`}, "proxy", nil,
				"proxy", "--config", config, "--dir", harness.TempDir(t), "--name", "proxy-1", "--http", addr, "--https", "", "--engine", engine,
				"--admin", harness.Addr(t), "--catalog", harness.Addr(t), "--gossip", harness.Addr(t))
			var all []*short
			defer func() {
				for _, c := range all {
					c.close()
				}
			}()
			harness.Eventually(t, 60*time.Second, func() error {
				c := newShort(addr)
				defer c.close()
				if got := c.get(); got != 200 {
					return errf("a client gets %d (%v)", got, c.err)
				}
				return nil
			})
			for range 90 { // with what the process uses itself this leaves some, and fewer than there are clients
				c := newShort(addr)
				all = append(all, c)
				if got := c.get(); got != 200 {
					t.Fatalf("client %d gets %d (%v): this test tests nothing", len(all), got, c.err)
				}
			}
			got := make(chan int)
			for _, c := range all {
				c.fields = "X-Hold: 1\r\n"
				go func() { got <- c.get() }()
			}
			count := map[int]int{}
			for range all {
				status := <-got
				if count[status]++; status == 503 {
					free()
				}
			}
			if count[503] == 0 || count[200]+count[503] != len(all) {
				t.Errorf("clients got %v, want 200 and 503 alone, and some 503", count)
			}
			if log := p.Log(); !strings.Contains(log, "descriptors are short") || strings.Contains(log, "to=suspect") || strings.Contains(log, "to=down") {
				t.Error("the instance is blamed, or nothing is said of the descriptors: see the log")
			}
		})
	}
}
