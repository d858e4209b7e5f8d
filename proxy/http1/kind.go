package http1

// Kind says what a field name means to a proxy. Names that mean nothing to it are KindOther.
type Kind uint8

// The names that a proxy acts on.
const (
	KindOther Kind = iota
	KindHost
	KindContentLength
	KindTransferEncoding
	KindConnection
	KindHop // Keep-Alive, Proxy-Connection, Proxy-Authorization, Proxy-Authenticate: one hop only; and Proxy, see kindByLength
	KindTE
	KindTrailer
	KindUpgrade
	KindExpect
	KindCookie
	KindSetCookie
	KindForwardedFor   // X-Forwarded-For
	KindForwardedOther // X-Forwarded-Proto, -Host, -Port, -Server, -Prefix, -Ssl, Forwarded, X-Real-IP: only we may say these
	KindAuthorization
	KindPrivate    // Portico-…: ours in requests
	KindUnderscore // a name with "_": travels where a site wants it
	KindAlias      // one that is another name of what a proxy acts on, such as X_Forwarded_For: never travels
	KindSetup      // Sec-WebSocket-…, HTTP2-Settings: kept, except the latter, which is a hop's
)

// kindOf classifies a field name.
func kindOf(name []byte) Kind {
	if k := kindByLength(name); k != KindOther {
		return k
	}
	switch lower(name[0]) {
	case 'x':
		if foldPrefix(name, "x-forwarded-") {
			return KindForwardedOther
		}
	case 'p':
		if foldPrefix(name, "portico-") {
			return KindPrivate
		}
	}
	return KindOther
}

// kindByLength knows the names that stand alone. The switch on the length leaves one or two comparisons for a name.
func kindByLength(name []byte) Kind {
	switch len(name) {
	case 2:
		return pick(name, "te", KindTE)
	case 4:
		return pick(name, "host", KindHost)
	case 5:
		return pick(name, "proxy", KindHop) // to a CGI program it would be HTTP_PROXY, a setting of its own (RFC 3875, 4.1.18)
	case 6:
		if lower(name[0]) == 'e' {
			return pick(name, "expect", KindExpect)
		}
		return pick(name, "cookie", KindCookie)
	case 7:
		if lower(name[0]) == 't' {
			return pick(name, "trailer", KindTrailer)
		}
		return pick(name, "upgrade", KindUpgrade)
	case 9:
		if lower(name[0]) == 'x' {
			return pick(name, "x-real-ip", KindForwardedOther)
		}
		return pick(name, "forwarded", KindForwardedOther)
	case 10:
		switch lower(name[0]) {
		case 'c':
			return pick(name, "connection", KindConnection)
		case 'k':
			return pick(name, "keep-alive", KindHop)
		case 's':
			return pick(name, "set-cookie", KindSetCookie)
		}
	case 13:
		return pick(name, "authorization", KindAuthorization)
	case 14:
		if lower(name[0]) == 'h' {
			return pick(name, "http2-settings", KindHop)
		}
		return pick(name, "content-length", KindContentLength)
	case 15:
		return pick(name, "x-forwarded-for", KindForwardedFor)
	case 16:
		return pick(name, "proxy-connection", KindHop)
	case 17:
		return pick(name, "transfer-encoding", KindTransferEncoding)
	case 18:
		return pick(name, "proxy-authenticate", KindHop)
	case 19:
		return pick(name, "proxy-authorization", KindHop)
	}
	return KindOther
}

func pick(name []byte, s string, k Kind) Kind {
	if FoldsTo(name, s) {
		return k
	}
	return KindOther
}

// kindOfUnderscored tells a name of the application's own from one under which CGI-like gateways would read what only a proxy may say.
func kindOfUnderscored(name []byte) Kind {
	var b [64]byte // longer than every name that is compared whole
	hyphened := b[:copy(b[:], name)]
	for i, c := range hyphened {
		if c == '_' {
			hyphened[i] = '-'
		}
	}
	if kindOf(hyphened) != KindOther || FoldsTo(hyphened, "content-type") {
		return KindAlias
	}
	return KindUnderscore
}

// Aliases reports whether a name with an underscore is, to a program behind CGI, WSGI or FastCGI, another name of what a proxy acts on.
func Aliases(name string) bool { return kindOfUnderscored([]byte(name)) == KindAlias }
