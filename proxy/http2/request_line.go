package http2

import (
	"crypto/rand"
	"encoding/base64"
)

// beginText writes the request line and Host when the last pseudo-field has come.
func (r *request) beginText() {
	if r.begun {
		return
	}
	r.begun = true
	if r.over { // what came of the values stands there as one line, too long for any
		return
	}
	if !r.sound() {
		r.bad = true
		return
	}
	target := kindPath
	if r.has(kindMethod) && !r.has(kindPath) {
		target = kindAuthority // CONNECT
	}
	r.start = len(r.buf)
	if !r.fits(len(r.get(kindMethod)) + len(r.get(target)) + len("  HTTP/1.1\r\n")) {
		return
	}
	if r.tunnel {
		r.buf = append(r.buf, "GET"...)
	} else {
		r.buf = append(r.buf, r.get(kindMethod)...)
	}
	r.buf = append(append(append(r.buf, ' '), r.get(target)...), " HTTP/1.1\r\n"...)
	if a := r.pseudo[kindAuthority-kindMethod]; a.set && r.fits(len("host: \r\n")+a.end-a.at) {
		r.line([]byte("host"), r.buf[a.at:a.end])
	}
	if r.tunnel {
		r.upgrade()
	}
}

func (r *request) get(k kind) []byte {
	s := r.pseudo[k-kindMethod]
	return r.buf[s.at:s.end]
}

func (r *request) has(k kind) bool { return r.pseudo[k-kindMethod].set }

// sound reports whether the pseudo-fields are those of a request (RFC 9113, 8.3.1 and 8.5; RFC 8441, 4).
func (r *request) sound() bool {
	method, path := r.get(kindMethod), r.get(kindPath)
	if !allOf(method, isToken) {
		return false
	}
	connect := string(method) == "CONNECT"
	r.tunnel = connect && r.has(kindProtocol)
	if connect && !r.tunnel {
		return r.has(kindAuthority) && !r.has(kindScheme) && !r.has(kindPath)
	}
	if scheme := string(r.get(kindScheme)); scheme != "https" && scheme != "http" {
		return false
	}
	if len(path) == 0 || path[0] != '/' && (string(path) != "*" || string(method) != "OPTIONS") {
		return false
	}
	if r.tunnel {
		return r.has(kindAuthority) && allOf(r.get(kindProtocol), isToken)
	}
	return !r.has(kindProtocol)
}

// upgrade says in HTTP/1's words which protocol a stream is to carry. For a WebSocket a key belongs to it, whose proof tells that the
// instance has understood (RFC 6455, 4.1).
func (r *request) upgrade() {
	if !r.fits(len(r.get(kindProtocol)) + len("connection: Upgrade\r\nupgrade: \r\n")) {
		return
	}
	r.line([]byte("connection"), []byte("Upgrade"))
	r.line([]byte("upgrade"), r.get(kindProtocol))
	if string(r.get(kindProtocol)) != "websocket" {
		return
	}
	var key [16]byte
	var text [24]byte
	_, _ = rand.Read(key[:]) // never fails, and is no I/O where the kernel maps its generator
	base64.StdEncoding.Encode(text[:], key[:])
	r.line([]byte("sec-websocket-key"), text[:])
}
