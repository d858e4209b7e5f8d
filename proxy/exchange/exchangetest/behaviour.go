package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"portico/proxy/exchange"
)

// behaviours are the cases that a table cannot say.
var behaviours = map[string]func(*testing.T, New){
	"continue":             continues,
	"continue refused":     continueRefused,
	"continue late":        continueLate,
	"continue over":        continueOver,
	"continue kept":        continueKept,
	"continue for nothing": continueForNothing,
	"tunnel":               tunnel,
	"counting":             counting,
	"counting tunnel":      countingTunnel,
	"wrong accept":         wrongAccept,
	"half-close":           halfClose,
	"retry":                retry,
	"all down":             allDown,
	"post once":            postOnce,
	"stale":                stale,
	"unread":               unread,
	"reuse":                reuse,
	"ends":                 ends,
	"origin ends":          originEnds,
	"drain":                drain,
	"stop accepting":       stopAccepting,
	"early":                early,
	"slow head":            slowHead,
	"slow body":            slowBody,
	"silent origin":        silentOrigin,
	"slow reader":          slowReader,
	"retired":              retired,
	"leftovers":            leftovers,
	"surplus":              surplus,
	"cut early":            cutEarly,
	"cut behind whole":     cutBehindWhole,
	"proxy in":             proxyIn,
	"proxy out":            proxyOut,
	"park":                 park,
	"park woken":           parkWoken,
	"client leaves":        clientLeaves,
	"limit":                connLimit,
	"names":                names,
	"both ways":            bothWays,
	"tls":                  overTLS,
	"handshakes":           handshakes,
	"handshake time":       handshakeTime,
	"tls upstream":         toTLS,
	"tls pause":            pauseTLS,
	"tls end":              endTLS,
	"revoked answer":       revokedAnswer,
	"revoked upload":       revokedUpload,
	"revoked tunnel":       revokedTunnel,
	"revoked connect":      revokedConnect,
	"bound":                bound,
	"bound by a ticket":    boundTicket,
	"bound ends":           boundEnds,
	"bound to several":     boundSites,
	"bound and retired":    boundRetired,
	"private":              private,
	"private ends":         privateEnds,
	"urgent":               urgent,
	"owed":                 owed,
	"owed stop":            owedStop,
	"urgent body":          urgentBody,
	"slow sides":           slowSides,
	"faint sides":          faintSides,
	"trickle":              trickle,
}

// Run runs the table and everything that a table cannot say.
func Run(t *testing.T, mk New) {
	t.Run("table", func(t *testing.T) { RunTable(t, mk) })
	for name, f := range behaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, mk)
		})
	}
}

func always(text string) func(int, string, net.Conn) bool {
	return func(_ int, _ string, c net.Conn) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

func with(o *Origin, more ...*Origin) *Handler {
	h := &Handler{}
	for _, o := range append([]*Origin{o}, more...) {
		h.Upstreams = append(h.Upstreams, &exchange.Upstream{Addr: o.Addr()})
	}
	return h
}

func options(h *Handler) exchange.Options {
	return exchange.Options{Config: exchange.Config{Handler: h}}
}

const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"

// rawOrigin hands each connection to serve.
func rawOrigin(t *testing.T, serve func(n int, c net.Conn, br *bufio.Reader)) *Origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Origin{ln: ln, conns: make(map[net.Conn]bool)}
	o.wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[c] = true
			o.accepted++
			o.mu.Unlock()
			o.wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(o.Close)
	return o
}

func readHead(br *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}
