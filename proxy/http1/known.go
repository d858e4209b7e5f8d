package http1

// Common is a field that handlers ask for on every message: where the first one stands is noted while the head is parsed.
type Common uint8

// The common fields.
const (
	CommonNone Common = iota
	UserAgent
	Referer
	ContentType
	Link
	commons
)

// knownName is a field name in a usual spelling, with what parsing it letter by letter would find.
type knownName struct {
	name   string
	kind   Kind
	common Common
}

// knownNames holds the names that nearly every message consists of. It saves looking at each letter: a quarter of the parser's time.
var knownNames = func() (t [256]knownName) {
	for _, name := range []string{
		"Host", "User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Cookie", "Connection", "Content-Type", "Content-Length", "Referer", "Origin",
		"Cache-Control", "Upgrade-Insecure-Requests", "If-None-Match", "If-Modified-Since", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
		"Sec-Fetch-User", "Priority", "Authorization", "Range", "Server", "Date", "ETag", "Last-Modified", "Vary", "Transfer-Encoding", "Set-Cookie",
		"Location", "Content-Encoding", "Accept-Ranges", "Keep-Alive", "X-Powered-By", "Expires", "Strict-Transport-Security",
		"host", "user-agent", "accept", "accept-language", "accept-encoding", "cookie", "connection", "content-type", "content-length",
		"server", "date",
	} {
		k := knownName{name: name, kind: kindOf([]byte(name)), common: commonOf([]byte(name))}
		t[knownSlot([]byte(name))] = k
	}
	return t
}()

// knownSlot spreads names of two letters and more over the table. The factors were found by trying: no two of the names meet.
func knownSlot(name []byte) uint8 {
	return 15*name[0] + 57*name[len(name)-2] + 52*uint8(len(name))
}

// commonOf is for spellings that the table does not hold.
func commonOf(name []byte) Common {
	switch len(name) {
	case 4:
		if FoldsTo(name, "link") {
			return Link
		}
	case 7:
		if FoldsTo(name, "referer") {
			return Referer
		}
	case 10:
		if FoldsTo(name, "user-agent") {
			return UserAgent
		}
	case 12:
		if FoldsTo(name, "content-type") {
			return ContentType
		}
	}
	return CommonNone
}

// First returns the value of the first field of that name, nil without one.
func (h *Head) First(c Common) []byte {
	if i := h.common[c]; i != 0 {
		return h.Value(&h.Fields[i-1])
	}
	return nil
}

// SetsCookies reports whether a Set-Cookie field stands in the head.
func (h *Head) SetsCookies() bool { return h.setsCookies }

// Private reports whether a field whose name begins with "portico-" stands in the head.
func (h *Head) Private() bool { return h.private }
