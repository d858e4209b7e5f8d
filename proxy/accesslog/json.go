package accesslog

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"portico/proxy/exchange/account"
)

// appendJSON appends r as one JSON object and a newline. Cookies, credentials and other fields of the request are never part of it.
// w is a memory for what lines have in common; its zero value is empty. Names and the punctuation between two values are one string
// each: a line has thirty of them, and every append is a call.
func appendJSON(b []byte, r *account.Record, w *words) []byte {
	b = w.stamp(b, r.At)
	if r.AddrText != nil {
		b = append(b, r.AddrText...)
	} else {
		b = r.Client.Addr().AppendTo(b)
	}
	b = append(b, `","port":`...)
	b = appendCount(b, int64(r.Client.Port()))
	if r.ID != 0 {
		b = append(b, `,"id":"`...)
		b = append(account.AppendID(b, r.ID), '"')
	}
	b = w.place(b, r)
	if readable(r) {
		b = appendMember(b, `,"method":"`, r.Method)
		b = appendMember(b, `,"host":"`, r.Host)
		b = appendMember(b, `,"target":"`, r.Target)
		b = append(append(append(b, `,"proto":"`...), r.Proto...), `","status":`...)
	} else {
		b = append(b, `,"status":`...)
	}
	b = appendCount(b, int64(r.Status))
	b = append(b, `,"bytes_in":`...)
	b = appendCount(b, r.BytesIn)
	b = append(b, `,"bytes_out":`...)
	b = appendCount(b, r.BytesOut)
	b = appendTimes(b, r)
	e := r.State
	for i, c := range e {
		if c == 0 {
			e[i] = '-'
		}
	}
	b = append(b, `,"end":"`...)
	b = append(b, e[0], e[1], e[2], e[3], '"')
	if r.Retries > 0 {
		b = append(b, `,"retries":`...)
		b = appendCount(b, int64(r.Retries))
		b = appendTries(b, r.Tries)
	}
	b = appendMember(b, `,"user_agent":"`, r.UserAgent)
	referer, _, _ := strings.Cut(r.Referer, "?")
	b = appendMember(b, `,"referer":"`, referer)
	b = appendMember(b, `,"session_lost":"`, r.Session)
	b = appendMember(b, `,"error":"`, r.Error)
	return append(b, '}', '\n')
}

// appendTries appends what the tries before the last one met: "u1: instance refused the connection; u2: …".
func appendTries(b []byte, tries []account.Try) []byte {
	var text string
	for i, t := range tries {
		if i > 0 {
			text += "; "
		}
		text += t.Instance + ": " + t.Error
	}
	return appendMember(b, `,"tried":"`, text)
}

// appendTimes appends what took how long. Most requests came in one piece, waited for nobody and found a connection.
func appendTimes(b []byte, r *account.Record) []byte {
	request, connect := r.Request(), r.Connect()
	if request == 0 && r.Queue == 0 && connect == 0 {
		b = append(b, `,"request_ms":0,"connect_ms":0`...)
	} else {
		b = appendMS(b, `,"request_ms":`, request)
		if r.Queue > 0 {
			b = appendMS(b, `,"queue_ms":`, r.Queue)
		}
		b = appendMS(b, `,"connect_ms":`, connect)
	}
	b = appendMS(b, `,"response_ms":`, r.Response())
	return appendMS(b, `,"total_ms":`, r.Total())
}

// words remembers text that many lines share.
type words struct {
	second int64
	zone   *time.Location
	date   []byte // from the line's beginning: RFC 3339 up to the second's point
	offset []byte // what follows the milliseconds, up to the client's address
	places [16]place
}

// place is the part of a line that says who served a request.
type place struct {
	frontend, site, member, instance string
	tls                              bool
	text                             []byte
}

// stamp begins a line: t as RFC 3339 with milliseconds.
func (w *words) stamp(b []byte, t time.Time) []byte {
	if s, zone := t.Unix(), t.Location(); w.date == nil || s != w.second || zone != w.zone {
		w.second, w.zone = s, zone
		w.date = t.AppendFormat(append(w.date[:0], `{"time":"`...), "2006-01-02T15:04:05.")
		w.offset = append(t.AppendFormat(w.offset[:0], "Z07:00"), `","client":"`...)
	}
	ms := t.Nanosecond() / 1e6
	b = append(b, w.date...)
	b = append(b, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	return append(b, w.offset...)
}

// place appends who served r. Its strings are the same ones in many records, so comparing where they lie is enough.
func (w *words) place(b []byte, r *account.Record) []byte {
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
	b = appendCount(b, int64(us/1000))
	us %= 1000
	switch {
	case us == 0:
	case us%10 != 0:
		b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	case us%100 != 0:
		b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10))
	default:
		b = append(b, '.', byte('0'+us/100))
	}
	return b
}

// appendCount appends n in decimal. Nearly all numbers of a line have one to three digits, and a port has five.
func appendCount(b []byte, n int64) []byte {
	switch u := uint64(n); {
	case u < 10:
		return append(b, byte('0'+u))
	case u < 100:
		return append(b, byte('0'+u/10), byte('0'+u%10))
	case u < 1000:
		return append(b, byte('0'+u/100), byte('0'+u/10%10), byte('0'+u%10))
	case u >= 10000 && u < 100000:
		return append(b, byte('0'+u/10000), byte('0'+u/1000%10), byte('0'+u/100%10), byte('0'+u/10%10), byte('0'+u%10))
	}
	return strconv.AppendInt(b, n, 10)
}

// plainJSON reports whether s needs no escape.
func plainJSON(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if !plainWord(uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56) {
			break
		}
	}
	for i := range len(s) {
		if !plainByte[s[i]] {
			return false
		}
	}
	return true
}

// plainWord reports whether eight bytes need no escape. It may say no when they need none: what a subtraction borrows makes false alarms.
func plainWord(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	pair := w&^(ones*0x04) ^ ones*'"' // zero where '"' or '&' is
	angle := w&^(ones*0x02) ^ ones*'<'
	slash := w ^ ones*'\\'
	odd := (w - ones*0x20) | (w + ones) | w // below the space, DEL, beyond ASCII
	return (odd|(pair-ones)&^pair|(angle-ones)&^angle|(slash-ones)&^slash)&highs == 0
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
