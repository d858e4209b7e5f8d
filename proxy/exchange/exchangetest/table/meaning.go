package table

import (
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// Message is what a raw message means, whatever the order of its fields and the framing of its body.
type Message struct {
	Start    string   // request line, or "HTTP/1.1 200" without the reason
	Fields   []string // "Name: value", sorted; without those that frame a body
	Body     string
	Lengths  []string // the values of Content-Length, unless there can be no body
	Trailers []string // as Fields

	open bool // of an expectation: more fields may be there, and any body
	part bool // the body was cut off
}

// Bodiless reports whether an answer has none whatever its fields say.
func Bodiless(method string, status int) bool {
	return method == "HEAD" || status < 200 || status == 204 || status == 304
}

// Answers reads raw answers to requests of the methods; the rest is what follows the last whole one. Beyond the methods it takes GET.
func Answers(raw string, methods []string) (list []Message, rest string) {
	final := 0
	for strings.HasPrefix(raw, "HTTP/1.") {
		head, body, ok := strings.Cut(raw, "\r\n\r\n")
		if !ok {
			return list, raw
		}
		lines := strings.Split(head, "\r\n")
		proto, status, _ := strings.Cut(lines[0], " ")
		code, _, _ := strings.Cut(status, " ")
		n, _ := strconv.Atoi(code)
		m := Message{Start: proto + " " + code}
		method := "GET"
		if final < len(methods) {
			method = methods[final]
		}
		if n >= 200 || n == 101 {
			final++
		}
		if n == 101 {
			m.take(lines[1:], true)
			m.Body = body
			return append(list, m), ""
		}
		raw = m.read(lines[1:], body, Bodiless(method, n), true)
		list = append(list, m)
	}
	return list, raw
}

// Request reads one raw request.
func Request(raw string) Message {
	if list := Requests(raw); len(list) > 0 {
		return list[0]
	}
	return Message{}
}

// Requests reads raw requests one behind the other. The last one may be cut off in its body.
func Requests(raw string) (list []Message) {
	for {
		head, body, ok := strings.Cut(raw, "\r\n\r\n")
		if !ok {
			return list
		}
		lines := strings.Split(head, "\r\n")
		m := Message{Start: lines[0]}
		raw = m.read(lines[1:], body, false, false)
		list = append(list, m)
	}
}

// Cut reports whether the body was cut off.
func (m *Message) Cut() bool { return m.part }

// read takes fields and body and returns what follows them. Without a length an answer's body goes on to the end.
func (m *Message) read(lines []string, body string, none, answer bool) (rest string) {
	length, chunked := m.take(lines, none)
	switch {
	case none:
		return body
	case chunked:
		return m.chunks(body)
	case length >= 0:
		k := min(length, len(body))
		m.Body, m.part = body[:k], k < length
		return body[k:]
	case answer:
		m.Body = body
		return ""
	}
	return body
}

// take sorts the fields. Those that frame the body are left out, unless there is none.
func (m *Message) take(lines []string, none bool) (length int, chunked bool) {
	length = -1
	for _, l := range lines {
		if l, m.open = strings.CutPrefix(l, wildcard); m.open && l == "" {
			continue
		}
		name, value, _ := strings.Cut(l, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value)
		switch {
		case name == "Content-Length" && !none:
			m.Lengths = append(m.Lengths, value)
			length, _ = strconv.Atoi(value)
		case name == "Transfer-Encoding" && !none:
			chunked = true
		default:
			m.Fields = append(m.Fields, name+": "+value)
		}
	}
	slices.Sort(m.Fields)
	return length, chunked
}

// chunks decodes a chunked body that is known to be sound, or cut off.
func (m *Message) chunks(raw string) (rest string) {
	m.part = true
	for {
		size, after, ok := strings.Cut(raw, "\r\n")
		hex, _, _ := strings.Cut(size, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(hex), 16, 32)
		if !ok || err != nil {
			return ""
		}
		if n == 0 {
			raw = after
			break
		}
		if len(after) < int(n)+2 {
			m.Body += after
			return ""
		}
		m.Body += after[:n]
		raw = after[n+2:]
	}
	for {
		line, after, ok := strings.Cut(raw, "\r\n")
		if !ok {
			return ""
		}
		if line == "" {
			m.part = false
			slices.Sort(m.Trailers)
			return after
		}
		name, value, _ := strings.Cut(line, ":")
		m.Trailers = append(m.Trailers, textproto.CanonicalMIMEHeaderKey(name)+": "+strings.TrimSpace(value))
		raw = after
	}
}

// Differs says in words how a message differs from what was wanted; "": it does not.
func (m *Message) Differs(want *Message) string {
	if m.Start != want.Start {
		return fmt.Sprintf("%q, want %q", m.Start, want.Start)
	}
	have := m.Fields
	for _, f := range want.Fields {
		i := slices.IndexFunc(have, func(h string) bool { return Matches(h, f) })
		if i < 0 {
			return fmt.Sprintf("no %q in %q", f, m.Fields)
		}
		have = slices.Delete(slices.Clone(have), i, i+1)
	}
	if want.open {
		return ""
	}
	if len(have) > 0 {
		return fmt.Sprintf("fields that were not expected: %q", have)
	}
	if m.Body != want.Body || m.part != want.part {
		return fmt.Sprintf("body of %d bytes %s (cut: %v), want %d %s (cut: %v)", len(m.Body), Clip(m.Body), m.part, len(want.Body), Clip(want.Body), want.part)
	}
	if !slices.Equal(m.Trailers, want.Trailers) {
		return fmt.Sprintf("trailers %q, want %q", m.Trailers, want.Trailers)
	}
	return ""
}
