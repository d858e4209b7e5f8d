package heads

import (
	"crypto/rand"
	"encoding/base64"

	"portico/proxy/http2/hpack"
)

// beginText writes the request line and Host when the last pseudo-field has come.
func (r *Request) beginText() {
	if r.begun {
		return
	}
	r.begun = true
	if r.Over { // what came of the values stands there as one line, too long for any
		return
	}
	if !r.sound() {
		r.bad = true
		return
	}
	target := hpack.KindPath
	if r.has(hpack.KindMethod) && !r.has(hpack.KindPath) {
		target = hpack.KindAuthority // CONNECT
	}
	r.start = len(r.buf)
	if !r.fits(len(r.get(hpack.KindMethod)) + len(r.get(target)) + len("  HTTP/1.1\r\n")) {
		return
	}
	if r.tunnel {
		r.buf = append(r.buf, "GET"...)
	} else {
		r.buf = append(r.buf, r.get(hpack.KindMethod)...)
	}
	r.buf = append(append(append(r.buf, ' '), r.get(target)...), " HTTP/1.1\r\n"...)
	if a := r.pseudo[hpack.KindAuthority-hpack.KindMethod]; a.set && r.fits(len("host: \r\n")+a.end-a.at) {
		r.line([]byte("host"), r.buf[a.at:a.end])
	}
	if r.tunnel {
		r.upgrade()
	}
}

func (r *Request) get(k hpack.Kind) []byte {
	s := r.pseudo[k-hpack.KindMethod]
	return r.buf[s.at:s.end]
}

func (r *Request) has(k hpack.Kind) bool { return r.pseudo[k-hpack.KindMethod].set }

// sound reports whether the pseudo-fields are those of a request (RFC 9113, 8.3.1 and 8.5; RFC 8441, 4).
func (r *Request) sound() bool {
	method, path := r.get(hpack.KindMethod), r.get(hpack.KindPath)
	if !hpack.IsToken(method) {
		return false
	}
	connect := string(method) == "CONNECT"
	r.tunnel = connect && r.has(hpack.KindProtocol)
	if connect && !r.tunnel {
		return r.has(hpack.KindAuthority) && !r.has(hpack.KindScheme) && !r.has(hpack.KindPath)
	}
	if scheme := string(r.get(hpack.KindScheme)); scheme != "https" && scheme != "http" {
		return false
	}
	if len(path) == 0 || path[0] != '/' && (string(path) != "*" || string(method) != "OPTIONS") {
		return false
	}
	if r.tunnel {
		return r.has(hpack.KindAuthority) && hpack.IsToken(r.get(hpack.KindProtocol))
	}
	return !r.has(hpack.KindProtocol)
}

// upgrade says in HTTP/1's words which protocol a stream is to carry. For a WebSocket a key belongs to it, whose proof tells that the
// instance has understood (RFC 6455, 4.1).
func (r *Request) upgrade() {
	if !r.fits(len(r.get(hpack.KindProtocol)) + len("connection: Upgrade\r\nupgrade: \r\n")) {
		return
	}
	r.line([]byte("connection"), []byte("Upgrade"))
	r.line([]byte("upgrade"), r.get(hpack.KindProtocol))
	if string(r.get(hpack.KindProtocol)) != "websocket" {
		return
	}
	var key [16]byte
	var text [24]byte
	_, _ = rand.Read(key[:]) // never fails, and is no I/O where the kernel maps its generator
	base64.StdEncoding.Encode(text[:], key[:])
	r.line([]byte("sec-websocket-key"), text[:])
}
