package proxy

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
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

// serverName names an instance for people: its member and the start of its id, or the
// name in the configuration file, see UpstreamID.
func serverName(member, instance string) string {
	if member == "" {
		return instance[strings.IndexByte(instance, '/')+1:]
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

// secretParams are query parameters whose values are credentials by custom.
var secretParams = []string{
	"access_token", "api_key", "apikey", "auth", "code", "id_token", "jsessionid", "key", "password", "passwd", "pwd",
	"refresh_token", "secret", "session", "sessionid", "sid", "sig", "signature", "token",
}

// redact hides what a target carries of credentials: values of well-known query
// parameters, and session ids written into the path (";jsessionid=").
func redact(target string) string {
	if strings.IndexByte(target, '?') < 0 && strings.IndexByte(target, ';') < 0 {
		return target
	}
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
	b = binary.BigEndian.AppendUint64(b, hexDigits(uint32(id>>32)))
	return binary.BigEndian.AppendUint64(b, hexDigits(uint32(id)))
}

// hexDigits makes eight digits, a byte each, of eight halves of bytes.
func hexDigits(n uint32) uint64 {
	const ones = 0x0101010101010101
	w := uint64(n)
	w = (w<<16 | w) & 0x0000ffff0000ffff
	w = (w<<8 | w) & 0x00ff00ff00ff00ff
	w = (w<<4 | w) & 0x0f0f0f0f0f0f0f0f
	letters := (w + ones*6) >> 4 & ones // one where a digit is a letter
	return w + ones*'0' + letters*('a'-'0'-10)
}
