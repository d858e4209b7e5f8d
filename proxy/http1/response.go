package http1

import (
	"bytes"
	"time"
)

// Response is a parsed response head. Its slices alias the input.
type Response struct {
	Head
	Status int
	Reason []byte
}

// ParseResponse parses a head that ScanHead delimited, as strictly as a request: an origin that is ambiguous is as dangerous to the
// next visitor as a client.
func ParseResponse(r *Response, head []byte, lim *Limits) Fault {
	_, fault := TryResponse(r, head, lim)
	return fault
}

// TryResponse parses the head at the beginning of b and returns its length. Where b may be incomplete, only success means anything.
func TryResponse(r *Response, b []byte, lim *Limits) (int, Fault) {
	r.Head.reset(b)
	r.Status, r.Reason = 0, nil
	at, fault := r.parseLine(b)
	if fault != NoFault {
		return 0, fault
	}
	end, fault := r.parseFields(at, lim.ResponseFlds)
	if fault != NoFault {
		return 0, fault
	}
	r.raw = b[:end]
	return end, r.frame()
}

// parseLine reads "HTTP/1.x SP code [SP reason] CRLF". The space before an empty reason is often missing in the wild, which is
// harmless.
func (r *Response) parseLine(head []byte) (int, Fault) {
	lf := bytes.IndexByte(head, '\n')
	if lf < 1 || head[lf-1] != '\r' {
		return 0, FaultBareLF
	}
	line := head[:lf-1]
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] > '1' || line[7] < '0' || line[8] != ' ' {
		return 0, FaultLine
	}
	r.Minor = int(line[7] - '0')
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, FaultLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || r.Status > 599 {
		return 0, FaultStatus
	}
	if len(line) > 12 {
		if line[12] != ' ' || !cleanValue(line[13:]) {
			return 0, FaultLine
		}
		r.Reason = line[13:]
	}
	return lf + 1, NoFault
}

// keepTimeout is how long the sender keeps the connection open without a request, as its Keep-Alive field says (RFC 2068, 19.7.1.1);
// false: it does not say.
func (r *Response) keepTimeout() (time.Duration, bool) {
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Kind != KindHop || !FoldsTo(r.Name(f), "keep-alive") {
			continue
		}
		for rest, more := r.Value(f), true; more; {
			var word []byte
			word, rest, more = bytes.Cut(rest, []byte(","))
			name, value, _ := bytes.Cut(word, []byte("="))
			if FoldsTo(bytes.TrimSpace(name), "timeout") {
				return seconds(bytes.Trim(value, " \t\""))
			}
		}
	}
	return 0, false
}

// seconds reads digits; more than a day is a day.
func seconds(digits []byte) (time.Duration, bool) {
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(10*n+int(c-'0'), 86400)
	}
	return time.Duration(n) * time.Second, len(digits) > 0
}

// keepMargin is for the time that a request takes to the origin: one that arrives while the origin closes is lost.
const keepMargin = time.Second

// KeepFor is how long the connection may wait for its next request, at most as long as most: a second less than its origin says. Zero
// and less: not at all.
func (r *Response) KeepFor(most time.Duration) time.Duration {
	if told, ok := r.keepTimeout(); ok {
		return min(most, told-keepMargin)
	}
	return most
}

// Bodyless reports whether an answer with this status never has a body, whatever its fields say (RFC 9112, 6.3).
func Bodyless(status int) bool { return status < 200 || status == 204 || status == 304 }
