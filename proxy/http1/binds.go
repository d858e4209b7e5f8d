package http1

import "bytes"

// Some authentication schemes give the connection an identity, not the request (RFC 4559, 6); package exchange keeps such a connection for
// one client. These are the fields in which they show.

// bindsChallenge reports whether the value of a WWW-Authenticate or Proxy-Authenticate field offers a scheme that authenticates the
// connection. A word that only looks like one, inside a quoted realm, counts as well: that costs a connection, no more.
func bindsChallenge(value []byte) bool {
	for len(value) > 0 {
		var word []byte
		if word, value = nextWord(value); bindsConnection(word) {
			return true
		}
	}
	return false
}

// bindsCredentials is bindsChallenge for the value of an Authorization field. That holds one scheme, but an application may take several
// fields that somebody has joined for a list: any of it counts.
func bindsCredentials(value []byte) bool {
	for {
		if word, _ := nextWord(value); bindsConnection(word) {
			return true
		}
		i := bytes.IndexByte(value, ',')
		if i < 0 {
			return false
		}
		value = value[i+1:]
	}
}

// nextWord returns the first run of token characters, and what stands behind it.
func nextWord(b []byte) (word, rest []byte) {
	for len(b) > 0 && charClass[b[0]]&isToken == 0 {
		b = b[1:]
	}
	n := 0
	for n < len(b) && charClass[b[n]]&isToken != 0 {
		n++
	}
	return b[:n], b[n:]
}

// bindsConnection knows the schemes: NTLM, Negotiate (RFC 4559), its successor Nego2, and what was called Kerberos before.
func bindsConnection(scheme []byte) bool {
	switch len(scheme) {
	case 4:
		return FoldsTo(scheme, "ntlm")
	case 5:
		return FoldsTo(scheme, "nego2")
	case 8:
		return FoldsTo(scheme, "kerberos")
	case 9:
		return FoldsTo(scheme, "negotiate")
	}
	return false
}

// Binds reports whether the request gives its connection an identity.
func (r *Request) Binds() bool {
	if !r.authorized {
		return false
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; f.Kind == KindAuthorization && bindsCredentials(r.Value(f)) {
			return true
		}
	}
	return false
}

// Binds reports whether the answer asks for credentials that would.
func (r *Response) Binds() bool {
	if r.Status != 401 && r.Status != 407 {
		return false
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		if name := r.Name(f); (FoldsTo(name, "www-authenticate") || FoldsTo(name, "proxy-authenticate")) && bindsChallenge(r.Value(f)) {
			return true
		}
	}
	return false
}
