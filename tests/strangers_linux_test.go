package tests

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestStrangersLeaveDescriptors: people whom nobody knows open connections to the admin port of a proxy that may open 200 descriptors, many
// more than that. Operators behind the same address keep theirs, new ones get theirs, and the cluster can be changed.
func TestStrangersLeaveDescriptors(t *testing.T) {
	t.Parallel()
	admin, dir := harness.Addr(t), harness.TempDir(t)
	p := harness.StartIn(t, []string{"sh", "-c", `ulimit -n 200 && exec "$0" "$@"`}, "proxy", nil,
		"proxy", "--dir", dir, "--name", "proxy-1", "--http", harness.Addr(t), "--https", "",
		"--admin", admin, "--catalog", harness.Addr(t), "--gossip", harness.Addr(t))
	change := func(name string) error {
		if r := harness.Run(t, nil, "account", "add", name, "--role", "viewer", "--dir", dir); r.Code != 0 {
			return errf("exit %d\n%s", r.Code, r.Stderr)
		}
		return nil
	}
	harness.Eventually(t, time.Minute, func() error { return change("before") })
	token := (&harness.Proxy{Process: p, Dir: dir}).ClientFile().Token

	var operators []*operator
	for range 30 { // more than there may be strangers
		o := newOperator(t, admin, token)
		o.ask(t)
		operators = append(operators, o)
	}
	var strangers []net.Conn
	for range 200 {
		c, err := net.DialTimeout("tcp", admin, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		strangers = append(strangers, c)
	}
	late := newOperator(t, admin, token)
	late.ask(t)
	if err := change("during"); err != nil {
		t.Error(err)
	}
	for _, o := range append(operators, late) {
		if reused := o.ask(t); !reused {
			t.Error("an operator's connection was closed")
		}
	}
	open := 0
	for _, c := range strangers {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "timeout") {
			open++
		}
	}
	if open > 12 { // a quarter of the fifty that are kept from traffic
		t.Errorf("%d strangers have connections", open)
	}
	if !strings.Contains(p.Log(), "strangers have too many connections") || strings.Contains(p.Log(), "descriptors are short") {
		t.Errorf("the log says\n%s", p.Log())
	}
}

// operator has one connection.
type operator struct {
	client *http.Client
	addr   string
	token  string
}

func newOperator(t *testing.T, addr, token string) *operator {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &operator{client: &http.Client{Transport: transport, Timeout: time.Minute}, addr: addr, token: token}
}

// ask makes a request, and reports whether it went by the connection of the one before.
func (o *operator) ask(t *testing.T) (reused bool) {
	t.Helper()
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, "https://"+o.addr+"/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	resp, err := o.client.Do(req)
	if err != nil {
		t.Error(err)
		return reused
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("an operator gets %s", resp.Status)
	}
	return reused
}
