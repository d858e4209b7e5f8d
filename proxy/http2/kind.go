package http2

// kind says what a field of a request means to HTTP/2 itself (RFC 9113, 8.2 and 8.3).
type kind uint8

const (
	kindOther kind = iota
	kindHost
	kindCookie
	kindLength
	kindPriority
	kindTE
	kindHop    // belongs to HTTP/1 connections: Connection and its kin
	kindKey    // Sec-WebSocket-Key: ours to choose where a stream becomes a WebSocket (RFC 8441, 5)
	kindMethod // the first of the pseudo-fields
	kindScheme
	kindAuthority
	kindPath
	kindProtocol
	kindUnknown // a pseudo-field that no request has
)

func (k kind) pseudo() bool { return k >= kindMethod }

// flaws says what is wrong with a field, wherever it stands.
type flaws uint8

const (
	flawName flaws = 1 << iota
	flawValue
)

// judge classifies a field.
func judge(name, value []byte) (k kind, f flaws) {
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

func pseudoKind(name []byte) kind {
	switch string(name) {
	case ":method":
		return kindMethod
	case ":scheme":
		return kindScheme
	case ":authority":
		return kindAuthority
	case ":path":
		return kindPath
	case ":protocol":
		return kindProtocol
	}
	return kindUnknown
}

func kindOf(name []byte) kind {
	switch string(name) {
	case "host":
		return kindHost
	case "cookie":
		return kindCookie
	case "content-length":
		return kindLength
	case "priority":
		return kindPriority
	case "te":
		return kindTE
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return kindHop
	case "sec-websocket-key":
		return kindKey
	}
	return kindOther
}
