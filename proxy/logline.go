package proxy

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendHAProxy appends r in the form of HAProxy's "option httplog":
//
//	client:port [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - state actconn/feconn/beconn/srv/retries srvq/backq "request"
//
// Bytes of the request line that could break or forge a line are written as
// HAProxy does: #XX in hexadecimal.
func AppendHAProxy(b []byte, r *Record) []byte {
	b = r.Client.Addr().AppendTo(b)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(r.Client.Port()), 10)
	b = append(b, " ["...)
	b = r.At.AppendFormat(b, "02/Jan/2006:15:04:05.000")
	b = append(b, "] "...)
	b = append(b, r.Frontend...)
	if r.TLS {
		b = append(b, '~')
	}
	b = append(b, ' ')
	if r.Site == "" {
		b = append(append(b, r.Frontend...), "/<NOSRV>"...)
	} else {
		b = append(appendSafe(b, r.Site), '/')
		if r.Instance == "" {
			b = append(b, "<NOSRV>"...)
		} else {
			b = appendSafe(b, serverName(r.Member, r.Instance))
		}
	}
	b = append(b, ' ')
	b = appendMillis(b, r.Request, '/')
	b = appendMillis(b, r.Queue, '/')
	b = appendMillis(b, r.Connect, '/')
	b = appendMillis(b, r.Response, '/')
	b = appendMillis(b, r.Total, ' ')
	b = strconv.AppendInt(b, int64(logStatus(r.Status)), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.BytesOut, 10)
	b = append(b, " - - "...)
	for _, c := range r.End {
		if c == 0 {
			c = '-'
		}
		b = append(b, c)
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(r.Active), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(r.Active), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(r.SiteReqs), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(r.Inflight), 10)
	b = append(b, '/')
	if r.Moved {
		b = append(b, '+')
	}
	b = strconv.AppendInt(b, int64(r.Retries), 10)
	b = append(b, " 0/"...)
	b = strconv.AppendInt(b, int64(r.QueueLen), 10)
	b = append(b, ` "`...)
	if r.Method == "" {
		b = append(b, "<BADREQ>"...)
	} else {
		b = append(appendSafe(b, r.Method), ' ')
		b = append(appendSafe(b, r.Target), ' ')
		b = appendSafe(b, r.Proto)
	}
	return append(b, '"', '\n')
}

// logStatus gives 0 (never answered) as -1, as HAProxy does.
func logStatus(s int) int {
	if s == 0 {
		return -1
	}
	return s
}

// serverName names an instance for people: its member and the start of its id.
func serverName(member, instance string) string {
	if member == "" {
		return instance
	}
	return member + "-" + instance[:min(6, len(instance))]
}

func appendMillis(b []byte, d time.Duration, end byte) []byte {
	if d < 0 {
		return append(b, '-', '1', end)
	}
	return append(strconv.AppendInt(b, d.Milliseconds(), 10), end)
}

func appendSafe(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c <= ' ' && c != ' ' || c >= 0x7f || c == '"' || c == '#' || c == ' ' {
			b = append(b, '#', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// AppendJSON appends r as one JSON object and a newline. Cookies, credentials
// and other fields of the request are never part of it.
func AppendJSON(b []byte, r *Record) []byte {
	b = append(b, `{"time":"`...)
	b = appendStamp(b, r.At)
	b = append(b, `","client":"`...)
	b = append(r.Client.Addr().AppendTo(b), `","port":`...)
	b = strconv.AppendUint(b, uint64(r.Client.Port()), 10)
	if r.ID != 0 {
		b = append(b, `,"id":"`...)
		b = append(appendID(b, r.ID), '"')
	}
	b = appendField(b, "frontend", r.Frontend)
	b = append(b, `,"tls":`...)
	b = strconv.AppendBool(b, r.TLS)
	b = appendField(b, "site", r.Site)
	b = appendField(b, "member", r.Member)
	b = appendField(b, "instance", r.Instance)
	b = appendField(b, "method", r.Method)
	b = appendField(b, "host", r.Host)
	b = appendField(b, "target", r.Target)
	b = appendField(b, "proto", r.Proto)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, r.BytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, r.BytesOut, 10)
	b = appendMS(b, "request_ms", r.Request)
	b = appendMS(b, "queue_ms", r.Queue)
	b = appendMS(b, "connect_ms", r.Connect)
	b = appendMS(b, "response_ms", r.Response)
	b = appendMS(b, "total_ms", r.Total)
	b = append(b, `,"end":"`...)
	for _, c := range r.End {
		if c == 0 {
			c = '-'
		}
		b = append(b, c)
	}
	b = append(b, '"')
	if r.Retries > 0 {
		b = append(b, `,"retries":`...)
		b = strconv.AppendInt(b, int64(r.Retries), 10)
	}
	b = appendField(b, "user_agent", r.UserAgent)
	b = appendField(b, "referer", r.Referer)
	b = appendField(b, "session_lost", r.Session)
	b = appendField(b, "error", r.Error)
	return append(b, '}', '\n')
}

// appendStamp appends t as RFC 3339 with milliseconds. The plain layout is the
// one that package time has a fast way for.
func appendStamp(b []byte, t time.Time) []byte {
	start := len(b)
	b = t.AppendFormat(b, time.RFC3339)
	ms := t.Nanosecond() / 1e6
	const seconds = len("2006-01-02T15:04:05")
	return slices.Insert(b, start+seconds, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

func appendMS(b []byte, name string, d time.Duration) []byte {
	if d < 0 {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	us := d.Microseconds()
	b = strconv.AppendInt(b, us/1000, 10)
	if us %= 1000; us == 0 {
		return b
	}
	b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// plainJSON reports whether s needs no escape.
func plainJSON(s string) bool {
	for i := range len(s) {
		if !plainByte[s[i]] {
			return false
		}
	}
	return true
}

var plainByte = func() (t [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

// appendField appends a string member, or nothing for an empty one. Everything
// that JSON, a terminal or a line-based tool could stumble over is escaped, and
// bytes that are not UTF-8 become U+FFFD.
func appendField(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	const hex = "0123456789abcdef"
	b = append(append(append(b, `,"`...), name...), `":"`...)
	if plainJSON(s) {
		return append(append(b, s...), '"')
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
				b = append(b, `\ufffd`...)
			} else {
				b = append(b, s[i:i+n]...)
			}
			i += n
		}
	}
	return append(b, '"')
}

// secretParams are query parameters whose values are credentials by custom.
var secretParams = []string{
	"access_token", "api_key", "apikey", "auth", "code", "id_token", "jsessionid", "key", "password", "passwd", "pwd",
	"refresh_token", "secret", "session", "sessionid", "sid", "sig", "signature", "token",
}

// redact hides what a target carries of credentials: values of well-known query
// parameters, and session ids written into the path (";jsessionid=").
func redact(target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	if i := strings.Index(strings.ToLower(path), ";jsessionid="); i >= 0 {
		end := strings.IndexAny(path[i+1:], ";/")
		if end < 0 {
			path = path[:i] + ";jsessionid=***"
		} else {
			path = path[:i] + ";jsessionid=***" + path[i+1+end:]
		}
	}
	if !hasQuery {
		return path
	}
	var b strings.Builder
	b.WriteString(path)
	sep := byte('?')
	for pair := range strings.SplitSeq(query, "&") {
		b.WriteByte(sep)
		sep = '&'
		name, _, ok := strings.Cut(pair, "=")
		if ok && slices.Contains(secretParams, strings.ToLower(name)) {
			b.WriteString(name)
			b.WriteString("=***")
			continue
		}
		b.WriteString(pair)
	}
	return b.String()
}

// appendID appends an exchange's number as people see it: 16 hexadecimal digits.
func appendID(b []byte, id uint64) []byte {
	const hex = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hex[id>>shift&15])
	}
	return b
}

func itoa(n int) string { return strconv.Itoa(n) }
