package hpack

// Kind says what a field of a request means to HTTP/2 itself (RFC 9113, 8.2 and 8.3).
type Kind uint8

// The kinds, those of pseudo-fields last.
const (
	KindOther Kind = iota
	KindHost
	KindCookie
	KindLength
	KindPriority
	KindTE
	KindHop    // belongs to HTTP/1 connections: Connection and its kin
	KindKey    // Sec-WebSocket-Key: ours to choose where a stream becomes a WebSocket (RFC 8441, 5)
	KindMethod // the first of the pseudo-fields
	KindScheme
	KindAuthority
	KindPath
	KindProtocol
	KindUnknown // a pseudo-field that no request has
)

// Pseudo reports whether the field is a pseudo-field, whose name begins with a colon (RFC 9113, 8.3).
func (k Kind) Pseudo() bool { return k >= KindMethod }

// flaws says what is wrong with a field, wherever it stands.
type flaws uint8

const (
	flawName flaws = 1 << iota
	flawValue
)

// judge classifies a field.
func judge(name, value []byte) (k Kind, f flaws) {
	if !cleanValue(value) {
		f = flawValue
	}
	if len(name) > 0 && name[0] == ':' {
		return pseudoKind(name), f
	}
	if !allOf(name, isName) {
		f |= flawName
	}
	return kindOf(name), f
}

func pseudoKind(name []byte) Kind {
	switch string(name) {
	case ":method":
		return KindMethod
	case ":scheme":
		return KindScheme
	case ":authority":
		return KindAuthority
	case ":path":
		return KindPath
	case ":protocol":
		return KindProtocol
	}
	return KindUnknown
}

func kindOf(name []byte) Kind {
	switch string(name) {
	case "host":
		return KindHost
	case "cookie":
		return KindCookie
	case "content-length":
		return KindLength
	case "priority":
		return KindPriority
	case "te":
		return KindTE
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return KindHop
	case "sec-websocket-key":
		return KindKey
	}
	return KindOther
}
