package http1

// Edits are the changes to a request on its way to an upstream. The zero value forwards it as received, less what is only this
// hop's business. All slices must stay as they are until the answer was sent.
type Edits struct {
	Path        []byte   // path to forward, nil: as received; the query follows unchanged
	Host        []byte   // Host to forward, nil: as received
	StripCookie string   // a cookie that the upstream must not see, "": none
	StripAlso   []string // endings: nor those cookies whose names are StripCookie's and one of these
	BarCookie   string   // a cookie that the upstream must neither see nor set, "": none
	Underscores bool     // fields with "_" in their names travel, but for other names of what a proxy acts on
	Fields      []byte   // complete lines to add, each with CRLF

	// TrimCookie says how many bytes at the beginning of a cookie's value the upstream must not see; nil: none.
	TrimCookie func(name, value []byte) int

	Client  []byte // the peer's address, added to X-Forwarded-For; nil: no X-Forwarded fields are written
	HTTPS   bool   // what X-Forwarded-Proto says
	Trusted bool   // the peer is a proxy whose X-Forwarded-… fields are kept, with Client added to the chain

	// AnswerFields are complete lines to add to the final answer, each with CRLF: Set-Cookie, Strict-Transport-Security.
	AnswerFields []byte
}

// Framing of a message as it is sent on.
type Framing uint8

// The framings.
const (
	FrameNone    Framing = iota // no body, and no field says so
	FrameLength                 // Content-Length
	FrameClose                  // until the connection closes; answers only
	FrameChunked                // Transfer-Encoding: chunked
	FrameStream                 // until the stream ends; answers only
)

// AppendRequest appends the head to send to an upstream. With keepExpect, a client's 100-continue is passed on; upgrade names the
// protocol that a site lets through, nil for none.
func AppendRequest(dst []byte, r *Request, e *Edits, keepExpect bool, upgrade []byte) []byte {
	done, fields := uint32(0), 0
	if e.Path == nil && e.Host == nil && r.usual() {
		done, fields = r.Fields[0].end, 1 // as they came
	} else {
		dst = appendRequestLine(dst, r, e)
	}
	dst = appendFields(dst, &r.Head, requestTravels(r, e, keepExpect), e, done, fields)
	dst = appendForwarded(dst, r, e)
	dst = append(dst, e.Fields...)
	dst = AppendFraming(dst, r.Framing(), r.Length)
	if upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, upgrade...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// usual reports whether the head begins with what appendRequestLine would make of it: the target in origin-form, HTTP/1.1, Host.
func (r *Request) usual() bool {
	if r.Minor != 1 || r.host != 0 || len(r.Path) == 0 || len(r.Target) == 0 || r.Target[0] != '/' {
		return false
	}
	f := &r.Fields[0]
	return f.plain && !f.named && string(r.Name(f)) == "Host"
}

// appendRequestLine writes the first line, and Host.
func appendRequestLine(dst []byte, r *Request, e *Edits) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	switch {
	case e.Path != nil:
		dst = append(dst, e.Path...)
	case len(r.Path) == 0:
		dst = append(dst, emptyPath(r)...)
	default:
		dst = append(dst, r.Path...)
	}
	if r.hasQuery {
		dst = append(dst, '?')
		dst = append(dst, r.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	if e.Host != nil {
		dst = append(dst, e.Host...)
	} else {
		dst = append(dst, r.Host...)
	}
	return append(dst, "\r\n"...)
}

// emptyPath is what an absolute-form target without a path asks for (RFC 9112, 3.2.4).
func emptyPath(r *Request) string {
	if string(r.Method) == "OPTIONS" && !r.hasQuery {
		return "*"
	}
	return "/"
}

// Framing is how the request is sent on.
func (r *Request) Framing() Framing {
	switch {
	case r.Chunked:
		return FrameChunked
	case r.Length >= 0:
		return FrameLength
	}
	return FrameNone
}

// appendFields copies what travels, in order, from the given field on; of the lines before it, done bytes travel as they stand.
// Runs of lines that need no change are copied as one. Where cookies do not travel as they are, e says what becomes of them.
func appendFields(dst []byte, h *Head, travels kinds, e *Edits, done uint32, first int) []byte {
	from, to := uint32(0), done // the pending run
	for i := first; i < len(h.Fields); i++ {
		f := &h.Fields[i]
		goes := travels.has(f.Kind) && !f.named
		if goes && f.plain {
			if f.line != to {
				dst = append(dst, h.raw[from:to]...)
				from = f.line
			}
			to = f.end
			continue
		}
		if to > from {
			dst = append(dst, h.raw[from:to]...)
		}
		from, to = f.end, f.end
		switch {
		case f.Kind == KindCookie && !travels.has(KindCookie):
			dst = appendCookie(dst, h, f, e)
		case goes:
			dst = appendField(dst, h, f)
		}
	}
	return append(dst, h.raw[from:to]...)
}

// kinds is a set of kinds.
type kinds uint32

func (s kinds) has(k Kind) bool { return s>>(k&31)&1 != 0 }

// requestTravels is the kinds of fields that go on as they are.
func requestTravels(r *Request, e *Edits, keepExpect bool) kinds {
	s := kinds(1<<KindOther | 1<<KindAuthorization | 1<<KindSetup | 1<<KindSetCookie)
	if e.StripCookie == "" && e.BarCookie == "" && e.TrimCookie == nil {
		s |= 1 << KindCookie
	}
	if r.Chunked {
		s |= 1 << KindTrailer
	}
	if keepExpect {
		s |= 1 << KindExpect
	}
	if e.Underscores {
		s |= 1 << KindUnderscore
	}
	if e.Trusted {
		s |= 1 << KindForwardedOther
	}
	return s
}

// appendForwarded says who the client is. Without trust, what a client claims about itself is dropped but for the chain of
// X-Forwarded-For, which always ends with the address that we saw.
func appendForwarded(dst []byte, r *Request, e *Edits) []byte {
	if e.Client == nil {
		return dst
	}
	dst = append(dst, "X-Forwarded-For: "...)
	if r.forwardedFor > 0 {
		for i := range r.Fields {
			if f := &r.Fields[i]; f.Kind == KindForwardedFor && f.value < f.valueEnd {
				dst = append(dst, r.Value(f)...)
				dst = append(dst, ", "...)
			}
		}
	}
	dst = append(dst, e.Client...)
	if e.Trusted {
		return append(dst, "\r\n"...)
	}
	if e.HTTPS {
		dst = append(dst, "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: "...)
	} else {
		dst = append(dst, "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "...)
	}
	dst = append(dst, r.Host...)
	return append(dst, "\r\n"...)
}

// AppendFraming appends the fields that tell it, none for most.
func AppendFraming(dst []byte, f Framing, length int64) []byte {
	switch f {
	case FrameLength:
		dst = append(dst, "Content-Length: "...)
		dst = appendUint(dst, length)
		return append(dst, "\r\n"...)
	case FrameChunked:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	case FrameNone, FrameClose, FrameStream:
	}
	return dst
}

func appendField(dst []byte, h *Head, f *Field) []byte {
	dst = append(dst, h.Name(f)...)
	dst = append(dst, ": "...)
	dst = append(dst, h.Value(f)...)
	return append(dst, "\r\n"...)
}

// AppendResponse appends the head to send to a client: framing says how its body is sent, add holds complete lines to add.
func AppendResponse(dst []byte, r *Response, frame Framing, length int64, add []byte, connection string) []byte {
	done := uint32(0)
	if r.Minor == 1 && len(r.Reason) > 0 && r.raw != nil {
		done = uint32(len("HTTP/1.1 200 \r\n") + len(r.Reason)) // the first line is what we would write
	} else {
		dst = AppendStatusLine(dst, r.Status, r.Reason)
	}
	dst = appendFields(dst, &r.Head, responseTravels(frame), nil, done, 0)
	dst = append(dst, add...)
	dst = AppendFraming(dst, frame, length)
	dst = append(dst, connection...)
	return append(dst, "\r\n"...)
}

// AppendStatusLine appends the first line of an answer; without a reason, it is the status's own.
func AppendStatusLine(dst []byte, status int, reason []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = appendUint(dst, int64(status))
	dst = append(dst, ' ')
	if len(reason) > 0 {
		dst = append(dst, reason...)
	} else {
		dst = append(dst, Reason(status)...)
	}
	return append(dst, "\r\n"...)
}

// Bar keeps those fields from travelling that set a cookie which the answer may not set; "": none.
func (r *Response) Bar(cookie string) {
	if cookie == "" || !r.setsCookies {
		return
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; f.Kind == KindSetCookie && SetsCookie(r.Value(f), cookie) {
			f.named = true
		}
	}
}

// Travels reports whether a field goes on to a client whose answer is framed so.
func (r *Response) Travels(f *Field, frame Framing) bool {
	return responseTravels(frame).has(f.Kind) && !f.named
}

func responseTravels(frame Framing) kinds {
	s := kinds(1<<KindOther | 1<<KindSetCookie | 1<<KindAuthorization | 1<<KindSetup | 1<<KindPrivate | 1<<KindUnderscore | 1<<KindAlias |
		1<<KindForwardedFor | 1<<KindForwardedOther | 1<<KindCookie | 1<<KindExpect)
	if frame >= FrameChunked {
		s |= 1 << KindTrailer
	}
	return s
}

// Reason is the reason phrase of a status that we write ourselves.
func Reason(status int) string {
	switch status {
	case 200:
		return "OK"
	case 204:
		return "No Content"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 307:
		return "Temporary Redirect"
	case 308:
		return "Permanent Redirect"
	case 304:
		return "Not Modified"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 417:
		return "Expectation Failed"
	case 421:
		return "Misdirected Request"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "Status"
}
