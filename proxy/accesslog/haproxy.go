package accesslog

import (
	"strconv"
	"time"

	"portico/proxy/exchange/account"
)

// AppendHAProxy appends r in the form of HAProxy's "option httplog":
//
//	client:port [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - state actconn/feconn/beconn/srv/retries srvq/backq "request"
//
// Bytes of the request line that could break or forge a line are written as
// HAProxy does: #XX in hexadecimal.
func AppendHAProxy(b []byte, r *account.Record) []byte {
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
			b = appendSafe(b, account.ServerName(r.Member, r.Instance))
		}
	}
	b = append(b, ' ')
	b = appendMillis(b, r.Request(), '/')
	if r.Queue == 0 {
		b = append(b, "-1/"...)
	} else {
		b = appendMillis(b, r.Queue, '/')
	}
	b = appendMillis(b, r.Connect(), '/')
	b = appendMillis(b, r.Response(), '/')
	b = appendMillis(b, r.Total(), ' ')
	b = strconv.AppendInt(b, int64(status(r.Status)), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.BytesOut, 10)
	b = append(b, " - - "...)
	for _, c := range r.State {
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
	if r.Retries > 0 { // each at another instance
		b = append(b, '+')
	}
	b = strconv.AppendInt(b, int64(r.Retries), 10)
	b = append(b, ` 0/0 "`...)
	if !readable(r) {
		b = append(b, "<BADREQ>"...)
	} else {
		b = append(appendSafe(b, r.Method), ' ')
		b = append(appendSafe(b, r.Target), ' ')
		b = appendSafe(b, r.Proto)
	}
	return append(b, '"', '\n')
}

// readable reports whether there is a request to be named: some cannot be read.
func readable(r *account.Record) bool { return r.Method != "" && r.Target != "" }

// status gives 0 (never answered) as -1, as HAProxy does.
func status(s int) int {
	if s == 0 {
		return -1
	}
	return s
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
