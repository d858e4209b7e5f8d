package haproxy

import (
	"strconv"
	"strings"

	"portico/internal/units"
)

// global writes what holds for the whole process, as Debian's own file has it.
// The log goes to standard output, which systemd's journal and containers keep.
func (f *file) global(o Options) {
	f.section("global")
	f.line("log stdout format raw daemon info")
	if !o.Bare {
		f.line("user haproxy")
		f.line("group haproxy")
		f.line("chroot /var/lib/haproxy")
		f.line("stats socket /run/haproxy/admin.sock mode 660 level admin")
		f.line("stats timeout 30s")
	}
	l := &o.Proxy.Limits
	if l.Connections > 0 {
		f.line("maxconn", strconv.Itoa(l.Connections))
	}
	// HAProxy has one size for the heads of requests and answers, and keeps 1 KiB of it for changes.
	f.line("tune.bufsize", strconv.FormatInt(max(l.Header, l.ResponseHeader).Bytes()+1024, 10))
	f.line("tune.http.maxhdr", strconv.Itoa(min(l.Fields+1, 32767)))
	f.line("ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets")
	f.line("ssl-default-server-options ssl-min-ver TLSv1.2")
	f.line("tune.ssl.default-dh-param 2048")
	if l.Handshakes > 0 {
		f.comment("not written: at most %d TLS handshakes at a time", l.Handshakes)
	}
}

// defaults writes timeouts, because HAProxy has none of its own, and retries
// that never send a request twice: only a connection that was refused is tried
// again, and then elsewhere.
func (f *file) defaults(o Options) {
	t := &o.Proxy.Timeouts
	f.section("defaults")
	f.line("mode http")
	f.line("log global")
	f.line("option httplog")
	f.line("option dontlognull")
	f.line("option http-keep-alive")
	f.line("option redispatch 1")
	f.line("retries", strconv.Itoa(o.Proxy.Retries))
	f.line("retry-on conn-failure")
	for _, timeout := range []struct {
		name string
		d    units.Duration
	}{
		{"connect", t.Connect},
		{"client", t.Body},
		{"client-fin", t.Body},
		{"server-fin", t.Body},
		{"http-request", t.Header},
		{"http-keep-alive", t.Idle},
		{"server", max(t.Response, t.Body)}, // one for the head of an answer and for the pauses in its body
		{"tunnel", t.Tunnel},
	} {
		f.line("timeout", timeout.name, millis(timeout.d.Std()))
	}
	f.line("timeout queue 5s")
	f.line("timeout check 2s")
	f.line("default-server init-addr last,libc,none pool-max-conn", strconv.Itoa(o.Proxy.Connections.Idle))
	f.comment("not written: proxy.connections.idle_timeout (%s): HAProxy drops idle connections after 5 to 10 s", o.Proxy.Connections.IdleTimeout)
	f.comment("not written: proxy.timeouts.drain (%s), proxy.timeouts.tunnels (%s): the former process ends with its last connection", t.Drain, t.Tunnels)
}

// streams lets a stream of events be silent for as long as a tunnel: browsers
// ask for one by its type.
func (f *file) streams(o Options) {
	f.line("http-request set-timeout server", millis(max(o.Proxy.Timeouts.Tunnel, o.Proxy.Timeouts.Response).Std()),
		"if { req.hdr(accept) -m sub text/event-stream }")
}

// addressTable is the table in which the frontends count each client's
// connections together. No site's backend can have this name, see ident.
const addressTable = "portico_addresses"

func (f *file) addresses(o Options) {
	if o.Proxy.Limits.PerAddress > 0 {
		f.section("backend", addressTable)
		f.line("stick-table type ipv6 size 1m expire 1m store conn_cur")
	}
}

// arrival writes what is asked of a connection, and of the head of a request.
func (f *file) arrival(o Options) {
	l := &o.Proxy.Limits
	for _, set := range networks(o.Proxy.ProxyProtocol) {
		f.line("tcp-request connection expect-proxy layer4 if { src", set, "}")
	}
	if l.PerAddress > 0 {
		f.line("tcp-request session track-sc1 src table", addressTable)
		f.line("tcp-request session reject if { sc1_conn_cur gt", strconv.Itoa(l.PerAddress), "}")
	}
	if l.Line > 0 {
		f.line("http-request return status 414 if { url,length gt", strconv.FormatInt(l.Line.Bytes(), 10), "}")
	}
	if l.Header > 0 {
		f.line("http-request return status 431 if { req.hdrs,length gt", strconv.FormatInt(l.Header.Bytes(), 10), "}")
	}
}

// hops is how many trusted proxies may stand in a row before the client's
// address is taken for the last one's.
const hops = 4

// identify takes the word of trusted proxies for who the client is. What the
// request says of it goes into variables before forwarded drops the fields.
func (f *file) identify(o Options) {
	sets := networks(o.Proxy.TrustedProxies)
	if len(sets) == 0 {
		return
	}
	for _, set := range sets {
		f.line("acl trusted src", set)
	}
	f.line("http-request set-var(txn.peer) src")
	f.line("http-request set-var(txn.chain) req.fhdr(x-forwarded-for) if trusted")
	f.line("http-request set-var(txn.proto) req.hdr(x-forwarded-proto) if trusted { req.hdr(x-forwarded-proto) -m str http https }")
	f.line("http-request set-var(txn.forhost) req.hdr(x-forwarded-host) if trusted")
	f.line("http-request set-var(txn.forport) req.hdr(x-forwarded-port) if trusted { req.hdr(x-forwarded-port) -m reg ^[0-9]{1,5}$ }")
	for i := range hops {
		n := strconv.Itoa(i + 1)
		f.line("http-request set-src req.hdr(x-forwarded-for,-"+n+") if trusted { req.hdr_cnt(x-forwarded-for) ge", n, "}")
	}
}

// ifSecure is the condition under which the visitor came by HTTPS.
func (f *file) ifSecure(o Options) string {
	if len(networks(o.Proxy.TrustedProxies)) == 0 {
		return "if { ssl_fc }"
	}
	return "if { var(txn.proto) -m str https } or { ssl_fc } !{ var(txn.proto) -m found }"
}

// networks are addresses and networks in lines that HAProxy can read: it takes
// 64 words in a line. The configuration has been checked; what could end a word is left out all the same.
func networks(list []string) []string {
	var lines []string
	var words []string
	for _, n := range list {
		if strings.Trim(n, "0123456789abcdefABCDEF.:/") != "" || n == "" {
			continue
		}
		if words = append(words, n); len(words) == 32 {
			lines, words = append(lines, strings.Join(words, " ")), nil
		}
	}
	if len(words) > 0 {
		lines = append(lines, strings.Join(words, " "))
	}
	return lines
}
