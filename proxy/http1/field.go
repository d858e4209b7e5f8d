package http1

import "bytes"

// Field is one header field: offsets into the head that it was parsed from, so that parsing allocates and copies nothing.
type Field struct {
	line, nameEnd, value, valueEnd, end uint32
	Kind                                Kind
	named                               bool // a Connection option names it, or it must not travel for another reason
	plain                               bool // the line is "name: value CRLF": it may be copied as it stands
}

// Head is the part that requests and responses have in common.
type Head struct {
	raw    []byte // from the first byte of the start line to the empty line's LF
	Fields []Field

	Minor     int   // HTTP/1.x
	Length    int64 // Content-Length; -1 without
	Chunked   bool
	KeepAlive bool // what version and Connection say

	hasConnection bool
	upgrade       bool // Connection names upgrade
	trailers      bool // TE: trailers
	upgradeTo     []byte
	lengths       int
	codings       int
	hosts         int
	host          int // index in Fields
	cookies       int
	forwardedFor  int
	private       bool
	setsCookies   bool
	expects       bool            // an Expect field stands in the head
	authorized    bool            // an Authorization field does
	common        [commons]uint16 // index and one of the first of each
}

// Name and Value of a field of this head; they alias the input.
func (h *Head) Name(f *Field) []byte { return h.raw[f.line:f.nameEnd] }

// Value of a field without the white space around it; it aliases the input.
func (h *Head) Value(f *Field) []byte { return h.raw[f.value:f.valueEnd] }

// Forget lets go of what the head was parsed from.
func (h *Head) Forget() { h.raw = nil }

// Upgrades reports whether Connection names upgrade.
func (h *Head) Upgrades() bool { return h.upgrade }

// UpgradeTo is the value of Upgrade, nil without one; it aliases the input.
func (h *Head) UpgradeTo() []byte { return h.upgradeTo }

// TakesTrailers reports whether the sender understands trailers.
func (h *Head) TakesTrailers() bool { return h.trailers }

// Drop keeps all fields with a name, given in lower case, from travelling on.
func (h *Head) Drop(name string) {
	for i := range h.Fields {
		if FoldsTo(h.Name(&h.Fields[i]), name) {
			h.Fields[i].named = true
		}
	}
}

// Get returns the value of the first field with a name, given in lower case; nil without one. It walks all fields.
func (h *Head) Get(name string) []byte {
	for i := range h.Fields {
		if FoldsTo(h.Name(&h.Fields[i]), name) {
			return h.Value(&h.Fields[i])
		}
	}
	return nil
}

func (h *Head) reset(raw []byte) {
	fields := h.Fields[:0]
	*h = Head{}
	h.raw, h.Fields, h.Length, h.host = raw, fields, -1, -1
}

// parseFields reads field lines from raw[at:] up to and with the empty line, which must be there, and returns where that ends.
func (h *Head) parseFields(at, limit int) (int, Fault) {
	if end, ok := h.quickFields(at, limit); ok {
		return end, NoFault
	}
	minor := h.Minor
	h.reset(h.raw)
	h.Minor = minor
	return h.carefulFields(at, limit)
}

// carefulFields is parseFields for every head; it tells what is wrong with one.
func (h *Head) carefulFields(at, limit int) (int, Fault) {
	raw := h.raw
	for {
		rest := raw[at:]
		lf := bytes.IndexByte(rest, '\n')
		if lf < 1 || rest[lf-1] != '\r' {
			return 0, FaultBareLF
		}
		if lf == 1 {
			return at + 2, NoFault
		}
		if len(h.Fields) == limit {
			return 0, FaultFields
		}
		if f := h.parseField(at, rest[:lf+1]); f != NoFault {
			return 0, f
		}
		at += lf + 1
	}
}

// parseField reads one line, given with its CRLF, that starts at offset at.
func (h *Head) parseField(at int, line []byte) Fault {
	n, kind, common := fieldName(line)
	if n == 0 {
		if line[0] == ' ' || line[0] == '\t' {
			return FaultFold
		}
		return FaultName
	}
	end := len(line) - 2
	from := n + 1
	for from < end && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	to := end
	for to > from && (line[to-1] == ' ' || line[to-1] == '\t') {
		to--
	}
	value := line[from:to]
	if !cleanValue(value) {
		if bytes.IndexByte(value, '\r') >= 0 {
			return FaultBareCR
		}
		return FaultValue
	}
	h.Fields = append(h.Fields, Field{
		line: uint32(at), nameEnd: uint32(at + n), value: uint32(at + from), valueEnd: uint32(at + to), end: uint32(at + len(line)),
		Kind: kind, plain: from == n+2 && line[n+1] == ' ' && to == end,
	})
	if common != CommonNone && h.common[common] == 0 {
		h.common[common] = uint16(len(h.Fields))
	}
	if kind == KindOther {
		return NoFault
	}
	return h.note(kind, value, len(h.Fields)-1)
}

// fieldName measures and classifies the name at the beginning of a line. Its length is zero when no valid name with a colon is there.
func fieldName(line []byte) (int, Kind, Common) {
	n := bytes.IndexByte(line, ':')
	if n <= 0 {
		return 0, KindOther, CommonNone
	}
	name := line[:n]
	if n > 1 {
		if k := &knownNames[knownSlot(name)]; k.name == string(name) {
			return n, k.kind, k.common
		}
	}
	under := false
	for _, c := range name {
		if charClass[c]&isToken == 0 {
			return 0, KindOther, CommonNone
		}
		under = under || c == '_'
	}
	if under {
		return n, kindOfUnderscored(name), CommonNone
	}
	return n, kindOf(name), commonOf(name)
}

// note draws what framing and connection handling need from a field that means something to a proxy.
func (h *Head) note(kind Kind, value []byte, index int) Fault {
	switch kind {
	case KindHost:
		h.hosts++
		h.host = index
	case KindContentLength:
		n, ok := parseLength(value)
		if !ok {
			return FaultLength
		}
		h.Length = n
		h.lengths++
	case KindTransferEncoding:
		h.codings++
		h.Chunked = FoldsTo(value, "chunked")
		if !h.Chunked {
			return FaultCoding
		}
	case KindConnection:
		h.hasConnection = true
	case KindUpgrade:
		h.upgradeTo = value
	case KindCookie:
		h.cookies++
	case KindSetCookie:
		h.setsCookies = true
	case KindForwardedFor:
		h.forwardedFor++
	case KindTE:
		h.trailers = h.trailers || FoldsTo(value, "trailers")
	case KindPrivate:
		h.private = true
	case KindExpect:
		h.expects = true
	case KindAuthorization:
		h.authorized = true
	case KindOther, KindHop, KindTrailer, KindForwardedOther, KindUnderscore, KindAlias, KindSetup:
	}
	return NoFault
}

// frame checks that the message has exactly one length and settles KeepAlive and what Connection names.
func (h *Head) frame() Fault {
	switch {
	case h.lengths > 1, h.lengths > 0 && h.codings > 0:
		return FaultTwoLengths
	case h.codings > 1:
		return FaultCoding
	case h.codings > 0 && h.Minor == 0:
		return FaultCoding
	}
	h.KeepAlive = h.Minor == 1
	if !h.hasConnection {
		return NoFault
	}
	return h.connection()
}

// connection reads the options of every Connection field (RFC 9110, 7.6.1) and marks the fields that they name.
func (h *Head) connection() Fault {
	closes, keeps := false, false
	for i := range h.Fields {
		if h.Fields[i].Kind != KindConnection {
			continue
		}
		list := h.Value(&h.Fields[i])
		for len(list) > 0 {
			var option []byte
			option, list = nextOption(list)
			switch {
			case len(option) == 0:
			case !allOf(option, isToken):
				return FaultConnection
			case FoldsTo(option, "close"):
				closes = true
			case FoldsTo(option, "keep-alive"):
				keeps = true
			case FoldsTo(option, "upgrade"):
				h.upgrade = true
			default:
				h.nominate(option)
			}
		}
	}
	if closes {
		h.KeepAlive = false
	} else if keeps {
		h.KeepAlive = true
	}
	return NoFault
}

func nextOption(list []byte) (option, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return trimSpace(list[:i]), list[i+1:]
	}
	return trimSpace(list), nil
}

// nominate marks the fields that a Connection option names. Framing, routing, credentials and what proxies say about the client are
// never removed on a client's word: that is how trusted headers were stripped elsewhere (CVE-2021-33197, CVE-2024-45410).
func (h *Head) nominate(option []byte) {
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.Kind {
		case KindHost, KindContentLength, KindTransferEncoding, KindCookie, KindSetCookie, KindForwardedFor, KindForwardedOther,
			KindAuthorization, KindPrivate, KindExpect:
			continue
		case KindOther, KindConnection, KindHop, KindTE, KindTrailer, KindUpgrade, KindUnderscore, KindAlias, KindSetup:
		}
		if EqualFold(h.Name(f), option) {
			f.named = true
		}
	}
}

// ScanHead looks for the end of a head in b, of which the first from bytes have been scanned before. It returns the head's length
// with its empty line, or zero and where to go on scanning. A line without CR is a fault at once, so that a client that will never
// send CRLF is not waited for.
func ScanHead(b []byte, from int) (end, next int, fault Fault) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0, from, NoFault
		}
		at := from + i
		if at == 0 || b[at-1] != '\r' {
			return 0, from, FaultBareLF
		}
		if at >= 3 && b[at-2] == '\n' {
			return at + 1, at + 1, NoFault
		}
		from = at + 1
	}
}
