package agent_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"portico/internal/units"
	"portico/membership/catalog/messages"
)

// told reads what an agent tells a proxy of its checks.
type told struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (c *cluster) told(addr string) *told {
	c.t.Helper()
	conn := c.dial(c.t, addr, "proxy1", "agent")
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: agent\r\n\r\n", messages.ChecksPath)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("answer %v, %v", res, err)
	}
	return &told{c.t, bufio.NewScanner(res.Body)}
}

// await reads until a line says what is awaited. The connection's deadline ends it.
func (r *told) await(what string, ok func(messages.CheckResult) bool) {
	r.t.Helper()
	for r.lines.Scan() {
		var list []messages.CheckResult
		if err := json.Unmarshal(r.lines.Bytes(), &list); err != nil || len(list) == 0 {
			r.t.Fatalf("line %q: %v", r.lines.Text(), err)
		}
		if slices.ContainsFunc(list, ok) {
			return
		}
	}
	r.t.Fatalf("not told: %s: %v", what, r.lines.Err())
}

// TestChecksAreTold: an agent tells proxies of each check while they listen, of failed ones and of the end of an instance too.
func TestChecksAreTold(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	s := runSettings()
	s.Health.Interval = units.Duration(200 * time.Millisecond)
	inst := c.site(s)
	r := c.told(a.Addr().String())
	fine := func(x messages.CheckResult) bool {
		return x.ID == inst.ID && x.OK && x.Code == "L7OK" && x.Status == http.StatusOK && x.Asked == s.Question()
	}
	for range 3 {
		r.await("a passed check", fine)
	}
	s.Health.Status = "404"
	c.want(current("shop", inst.Release, s))
	r.await("a failed check", func(x messages.CheckResult) bool {
		return x.ID == inst.ID && !x.OK && x.Code == "L7STS" && x.Asked == s.Question()
	})
	client := c.via(a.Addr(), inst.ID+".instance")
	if _, err := client.Get("https://shop.example/exit"); err == nil {
		t.Log("the instance answered before its end")
	}
	r.await("the end", func(x messages.CheckResult) bool { return x.ID == inst.ID && !x.OK && x.Code == "L4CON" })
}
