package accesslog

import (
	"net/netip"
	"time"
)

// Record is one finished exchange, as the access log sees it. Times are counted
// from the first byte of the request; a negative duration means that the
// exchange never came that far.
type Record struct {
	ID        uint64         // the exchange's number, see Server.Recent; JSON only
	At        time.Time      // when the request began
	Client    netip.AddrPort // peer, with the visitor's address where a trusted proxy named it
	TLS       bool
	Frontend  string // "http" or "https"
	Site      string // empty: none was found
	Member    string // where the instance runs
	Instance  string // id; empty: portico answered by itself
	Method    string
	Host      string
	Target    string // request target as it came
	Proto     string // "HTTP/1.1"
	Status    int
	BytesIn   int64 // from the client, with the request's head
	BytesOut  int64 // sent: heads and bodies; over HTTP/2, heads as they would be in HTTP/1.1
	Request   time.Duration
	Queue     time.Duration
	Connect   time.Duration
	Response  time.Duration
	Total     time.Duration
	End       [4]byte // HAProxy's termination state: cause, phase, cookie seen, cookie sent
	Active    int     // client connections of the process
	Inflight  int     // requests at the instance
	SiteReqs  int     // requests at the site
	Retries   int
	Tries     []Try  // those that failed before the last one, in order
	Moved     bool   // the last try was at another instance
	QueueLen  int    // requests that waited before this one
	UserAgent string // JSON only
	Referer   string // JSON only, without its query
	Session   string // cause, when a session was lost
	Error     string // of the last try; JSON only

	AddrText []byte // Client's address in text, where somebody has it; nil: nobody
}

// Try is one that failed before another was made.
type Try struct {
	Instance string // "server-1-4f2a11"
	Error    string
}

// Again notes that a try has failed and another one is made: how the request ends is up to that one.
func (r *Record) Again(instance string, err error) {
	r.Tries = append(r.Tries, Try{Instance: instance, Error: err.Error()})
	r.Error, r.Moved = "", true
	r.Retries++
}

// Class is the index of the status in counters by class; 0 is everything else.
func (r *Record) Class() int {
	if r.Status >= 100 && r.Status < 600 {
		return r.Status / 100
	}
	return 0
}
