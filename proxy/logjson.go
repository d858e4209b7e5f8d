package proxy

import (
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// appendJSON appends r as one JSON object and a newline. Cookies, credentials and other fields of the request are never part of it.
// w is a memory for what lines have in common; its zero value is empty. Names and the punctuation between two values are one string
// each: a line has thirty of them, and every append is a call.
func appendJSON(b []byte, r *Record, w *words) []byte {
	b = append(b, `{"time":"`...)
	b = w.stamp(b, r.At)
	b = append(b, `","client":"`...)
	b = append(r.Client.Addr().AppendTo(b), `","port":`...)
	b = strconv.AppendUint(b, uint64(r.Client.Port()), 10)
	if r.ID != 0 {
		b = append(b, `,"id":"`...)
		b = append(appendID(b, r.ID), '"')
	}
	b = w.place(b, r)
	b = appendMember(b, `,"method":"`, r.Method)
	b = appendMember(b, `,"host":"`, r.Host)
	b = appendMember(b, `,"target":"`, r.Target)
	b = appendMember(b, `,"proto":"`, r.Proto)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, r.BytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, r.BytesOut, 10)
	b = appendMS(b, `,"request_ms":`, r.Request)
	b = appendMS(b, `,"queue_ms":`, r.Queue)
	b = appendMS(b, `,"connect_ms":`, r.Connect)
	b = appendMS(b, `,"response_ms":`, r.Response)
	b = appendMS(b, `,"total_ms":`, r.Total)
	b = append(b, `,"end":"`...)
	e := r.End
	for i, c := range e {
		if c == 0 {
			e[i] = '-'
		}
	}
	b = append(b, e[0], e[1], e[2], e[3], '"')
	if r.Retries > 0 {
		b = append(b, `,"retries":`...)
		b = strconv.AppendInt(b, int64(r.Retries), 10)
	}
	b = appendMember(b, `,"user_agent":"`, r.UserAgent)
	b = appendMember(b, `,"referer":"`, r.Referer)
	b = appendMember(b, `,"session_lost":"`, r.Session)
	b = appendMember(b, `,"error":"`, r.Error)
	return append(b, '}', '\n')
}

// words remembers text that many lines share.
type words struct {
	second int64
	zone   *time.Location
	date   []byte // RFC 3339 up to the seconds
	offset []byte // and behind them
	places [16]place
}

// place is the part of a line that says who served a request.
type place struct {
	frontend, site, member, instance string
	tls                              bool
	text                             []byte
}

// stamp appends t as RFC 3339 with milliseconds.
func (w *words) stamp(b []byte, t time.Time) []byte {
	if s, zone := t.Unix(), t.Location(); w.date == nil || s != w.second || zone != w.zone {
		w.second, w.zone = s, zone
		w.date = t.AppendFormat(w.date[:0], "2006-01-02T15:04:05")
		w.offset = t.AppendFormat(w.offset[:0], "Z07:00")
	}
	ms := t.Nanosecond() / 1e6
	b = append(append(b, w.date...), '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	return append(b, w.offset...)
}

// place appends who served r. Its strings are the same ones in many records, so comparing where they lie is enough.
func (w *words) place(b []byte, r *Record) []byte {
	at := uintptr(unsafe.Pointer(unsafe.StringData(r.Instance)))
	p := &w.places[(at>>4^at>>8)%uintptr(len(w.places))]
	if p.text == nil || p.tls != r.TLS || !same(p.instance, r.Instance) || !same(p.frontend, r.Frontend) || !same(p.site, r.Site) || !same(p.member, r.Member) {
		p.frontend, p.site, p.member, p.instance, p.tls = r.Frontend, r.Site, r.Member, r.Instance, r.TLS
		p.text = appendMember(p.text[:0], `,"frontend":"`, r.Frontend)
		p.text = append(p.text, `,"tls":`...)
		p.text = strconv.AppendBool(p.text, r.TLS)
		p.text = appendMember(p.text, `,"site":"`, r.Site)
		p.text = appendMember(p.text, `,"member":"`, r.Member)
		p.text = appendMember(p.text, `,"instance":"`, r.Instance)
	}
	return append(b, p.text...)
}

// same reports whether two strings are the same memory. A false no costs time only.
func same(a, b string) bool { return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b) }

// appendMS appends milliseconds with up to three decimals; name is what comes before them.
func appendMS(b []byte, name string, d time.Duration) []byte {
	if d < 0 {
		return b
	}
	b = append(b, name...)
	us := uint64(d.Microseconds())
	if us < 1000 {
		b = append(b, '0')
	} else {
		b = strconv.AppendUint(b, us/1000, 10)
		us %= 1000
	}
	switch {
	case us == 0:
	case us%100 == 0:
		b = append(b, '.', byte('0'+us/100))
	case us%10 == 0:
		b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10))
	default:
		b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
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

// appendMember appends a string member, or nothing for an empty one; name ends with the opening quote. Everything that JSON, a
// terminal or a line-based tool could stumble over is escaped, and bytes that are not UTF-8 become U+FFFD.
func appendMember(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(b, name...)
	if plainJSON(s) {
		return append(append(b, s...), '"')
	}
	return append(appendEscaped(b, s), '"')
}

func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
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
	return b
}
