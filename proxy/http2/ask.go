package http2

import (
	"bytes"

	"portico/proxy/http1"
	"portico/proxy/wire"
)

// ask sends the head of a request, and what the first write has behind it.
func (s *Stream) ask(a, b []byte, end bool) (int, wire.Result) {
	c := s.c
	i := bytes.Index(a, []byte("\r\n\r\n"))
	if i < 0 || c.Leaving() {
		s.gone, s.refused = true, true // nothing was sent
		return 0, wire.Failed
	}
	head, rest := a[:i+2], a[i+4:]
	alone := end && len(rest)+len(b) == 0
	s.id = c.origin.nextID
	c.origin.nextID += 2
	c.lastID, s.began = s.id, c.now
	c.list(s)
	s.Head(0)
	s.requestFields(head)
	s.EndHead(alone)
	if alone || len(rest)+len(b) == 0 {
		return len(a), wire.More
	}
	n, res := s.Write(rest, b, end)
	return i + 4 + n, res
}

// requestFields writes a request's fields from its text: those that HTTP/2 has names of its own for first (RFC 9113, 8.3.1), none that
// belong to connections of HTTP/1.
func (s *Stream) requestFields(head []byte) {
	line, fields := cutLine(head)
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	s.bodyless = string(method) == "HEAD"
	protocol := upgradeOf(fields)
	s.pseudo(method, target, find(fields, "host"), protocol)
	for len(fields) > 0 {
		line, fields = cutLine(fields)
		name, value := cutField(line)
		switch {
		case http1.FoldsTo(name, "host"), http1.FoldsTo(name, "connection"), http1.FoldsTo(name, "upgrade"), http1.FoldsTo(name, "transfer-encoding"):
		case http1.FoldsTo(name, "sec-websocket-key") && protocol != nil:
			http1.AppendAccept(s.accept[:0], value)
		default:
			s.Field(name, value)
		}
	}
}

// pseudo writes the fields that say what is asked. The scheme is that of the line, which is no TLS of the origin's.
func (s *Stream) pseudo(method, target, host, protocol []byte) {
	c := s.c
	c.roomOut(len(method) + len(target) + len(protocol) + 64)
	switch {
	case protocol != nil:
		s.tunnel = true
		c.out = c.encoder.Plain(c.out, 2, nil, []byte("CONNECT"))
		c.out = c.encoder.Plain(c.out, 0, []byte(":protocol"), protocol)
	case string(method) == "GET":
		c.out = append(c.out, 0x80|2)
	case string(method) == "POST":
		c.out = append(c.out, 0x80|3)
	default:
		c.out = c.encoder.Plain(c.out, 2, nil, method)
	}
	c.out = append(c.out, 0x80|6)
	s.Field([]byte(":authority"), host)
	c.roomOut(len(target) + 8)
	if string(target) == "/" {
		c.out = append(c.out, 0x80|4)
	} else {
		c.out = c.encoder.Plain(c.out, 4, nil, target) // in no table: who can guess at it may learn nothing from a length
	}
}

// End sends the trailers of the request, lines with CRLF and an empty one, and with them its end.
func (s *Stream) End(section []byte) {
	s.Head(0)
	for len(section) > 0 {
		var line []byte
		if line, section = cutLine(section); len(line) > 0 {
			s.Field(cutField(line))
		}
	}
	s.EndHead(true)
}

// cutLine cuts the first line off, without its CRLF.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\r\n"))
	return line, rest
}

// cutField divides a line.
func cutField(line []byte) (name, value []byte) {
	name, value, _ = bytes.Cut(line, []byte(":"))
	return name, bytes.TrimSpace(value)
}

// find returns the value of the first field with that name.
func find(fields []byte, name string) []byte {
	for len(fields) > 0 {
		var line []byte
		line, fields = cutLine(fields)
		if n, value := cutField(line); http1.FoldsTo(n, name) {
			return value
		}
	}
	return nil
}

// upgradeOf returns the protocol that a request wants to switch to, nil without one.
func upgradeOf(fields []byte) []byte {
	if !http1.FoldsTo(find(fields, "connection"), "upgrade") {
		return nil
	}
	return find(fields, "upgrade")
}
