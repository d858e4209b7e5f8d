package http1

import "bytes"

// Request is a parsed request head. Its slices alias the input and live as long as that.
type Request struct {
	Head
	Major  int // HTTP version of the client: 1, or 2 for a stream, whose text says HTTP/1.1
	Method []byte
	Target []byte // as received
	Path   []byte // without query; "*" for OPTIONS *
	Query  []byte // without "?"
	Host   []byte // as received, proven by validHost

	hasQuery bool
	expect   bool // 100-continue
	method   methodKind
}

type methodKind uint8

const (
	methodOther methodKind = iota
	methodGet
	methodHead
	methodIdempotent // PUT, DELETE, OPTIONS: may be repeated, RFC 9110, 9.2.2
)

// IsHead reports whether the answer has no body.
func (r *Request) IsHead() bool { return r.method == methodHead }

// Idempotent reports whether sending the request twice means the same as sending it once (RFC 9110, 9.2.2).
func (r *Request) Idempotent() bool { return r.method != methodOther }

// HasBody reports whether a body follows the head.
func (r *Request) HasBody() bool { return r.Chunked || r.Length > 0 }

// ExpectsContinue reports whether the client waits for 100 Continue before it sends the body.
func (r *Request) ExpectsContinue() bool { return r.expect && r.HasBody() && r.Minor == 1 }

// Upgrade returns the protocol that a GET over HTTP/1.1 wants to switch to, nil without one. A list of protocols is not offered on.
func (r *Request) Upgrade() []byte {
	if !r.upgrade || r.Minor == 0 || r.method != methodGet || r.HasBody() {
		return nil
	}
	return r.upgradeTo
}

// ParseRequest parses a head that ScanHead delimited. r may be reused; it keeps head and allocates only when a request has more
// fields than any before it.
func ParseRequest(r *Request, head []byte, lim *Limits) Fault {
	_, fault := TryRequest(r, head, lim)
	return fault
}

// TryRequest parses the head at the beginning of b and returns its length. Where b may be incomplete, only success means anything:
// ScanHead knows the rest.
func TryRequest(r *Request, b []byte, lim *Limits) (int, Fault) {
	r.Head.reset(b)
	r.Method, r.Target, r.Path, r.Query, r.Host = nil, nil, nil, nil, nil
	r.Major, r.hasQuery, r.expect, r.method = 1, false, false, methodOther
	at, fault := r.parseLine(b, lim)
	if fault != NoFault {
		return 0, fault
	}
	end, fault := r.parseFields(at, lim.Fields)
	if fault != NoFault {
		return 0, fault
	}
	r.raw = b[:end]
	if fault = r.frame(); fault != NoFault {
		return 0, fault
	}
	if r.expects || r.upgrade {
		if fault = r.expectation(); fault != NoFault {
			return 0, fault
		}
	}
	return end, r.authority()
}

// parseLine reads "METHOD SP target SP HTTP/1.x CRLF" and returns where the fields begin.
func (r *Request) parseLine(head []byte, lim *Limits) (int, Fault) {
	lf := bytes.IndexByte(head, '\n')
	if lf < 1 || head[lf-1] != '\r' {
		return 0, FaultBareLF
	}
	if lf+1 > lim.Line {
		return 0, FaultLineLong
	}
	line := head[:lf-1]
	n := 0
	for n < len(line) && charClass[line[n]]&isToken != 0 {
		n++
	}
	if n == 0 || n > 32 || n == len(line) || line[n] != ' ' {
		return 0, FaultMethod
	}
	r.Method = line[:n]
	target := line[n+1:]
	i := bytes.IndexByte(target, ' ')
	if i < 0 {
		return 0, FaultLine
	}
	version := target[i+1:]
	r.Target = target[:i]
	if fault := r.version(version); fault != NoFault {
		return 0, fault
	}
	if fault := r.classify(); fault != NoFault {
		return 0, fault
	}
	return lf + 1, r.parseTarget()
}

func (r *Request) version(v []byte) Fault {
	if len(v) != 8 || string(v[:5]) != "HTTP/" || v[6] != '.' || v[5] < '0' || v[5] > '9' || v[7] < '0' || v[7] > '9' {
		return FaultLine
	}
	if v[5] != '1' || v[7] > '1' {
		return FaultVersion
	}
	r.Minor = int(v[7] - '0')
	return NoFault
}

func (r *Request) classify() Fault {
	switch string(r.Method) {
	case "GET":
		r.method = methodGet
	case "HEAD":
		r.method = methodHead
	case "PUT", "DELETE", "OPTIONS":
		r.method = methodIdempotent
	case "CONNECT", "TRACE", "TRACK":
		return FaultNotAllowed
	}
	return NoFault
}

// parseTarget takes origin-form, absolute-form and, for OPTIONS, asterisk-form (RFC 9112, 3.2).
func (r *Request) parseTarget() Fault {
	t := r.Target
	if len(t) == 0 {
		return FaultTarget
	}
	if t[0] != '/' {
		if len(t) == 1 && t[0] == '*' && string(r.Method) == "OPTIONS" {
			r.Path = t
			return NoFault
		}
		var ok bool
		if t, ok = r.absolute(t); !ok {
			return FaultTarget
		}
	}
	n := 0
	for n < len(t) && charClass[t[n]]&isPath != 0 {
		n++
	}
	r.Path = t[:n]
	if n == len(t) {
		return NoFault
	}
	if t[n] != '?' || !allOf(t[n+1:], isQuery) {
		return FaultTarget
	}
	r.Query, r.hasQuery = t[n+1:], true
	return NoFault
}

// absolute splits an absolute-form target: the authority becomes Host and what follows is returned, empty for a bare authority.
func (r *Request) absolute(t []byte) ([]byte, bool) {
	switch {
	case foldPrefix(t, "http://"):
		t = t[7:]
	case foldPrefix(t, "https://"):
		t = t[8:]
	default:
		return nil, false
	}
	i := bytes.IndexAny(t, "/?#")
	if i < 0 {
		i = len(t)
	}
	r.Host = t[:i]
	return t[i:], validHost(r.Host)
}

// authority demands exactly one valid Host, and the same one in an absolute target. HTTP/1.0 needs one, too: nothing else says
// which site is meant.
func (r *Request) authority() Fault {
	switch {
	case r.hosts == 0:
		return FaultNoHost
	case r.hosts > 1:
		return FaultTwoHosts
	}
	host := r.Value(&r.Fields[r.host])
	if !validHost(host) {
		return FaultHost
	}
	if r.Host != nil && !SameHost(r.Host, host) {
		return FaultTwoHosts
	}
	r.Host = host
	return NoFault
}

func (r *Request) expectation() Fault {
	for i := range r.Fields {
		if r.Fields[i].Kind != KindExpect {
			continue
		}
		if !FoldsTo(r.Value(&r.Fields[i]), "100-continue") {
			return FaultExpect
		}
		r.expect = true
	}
	if r.upgrade && r.upgradeTo != nil && !validProtocols(r.upgradeTo) {
		return FaultConnection
	}
	return NoFault
}

func validProtocols(b []byte) bool {
	for _, c := range b {
		if charClass[c]&isToken == 0 && c != '/' && c != ',' && c != ' ' {
			return false
		}
	}
	return len(b) > 0
}
