package table

import (
	"slices"

	"portico/proxy/http1"
)

// Case is one row: what a client sends, what the origin answers to each request in turn, and the bytes that each must see.
type Case struct {
	Name   string
	Send   []string // in pieces
	Answer []string // to the first, second… request; a trailing "<close>" or "<reset>" ends the connection behind it
	Origin []string // requests that the origin must have seen, without the fields that the proxy adds
	Client string   // all that the client must have seen; "<*>" matches anything, "<reset>" at the end a reset

	Fault    http1.Fault // what the parser of heads says to the request, or to the answer if there is one; NoFault: heads are sound
	Stricter string      // why we refuse what the standard library's parser takes; "": it does not
	Laxer    string      // why we take what net/http refuses
	H2       *Deviation  // what the row comes to over HTTP/2, where that is something else
	NoH2     string      // why the row cannot be said in HTTP/2; "": it can
}

// Deviation is what a row comes to in another version. What it leaves out is as the row says.
type Deviation struct {
	Why    string
	Origin []string
	Client string
}

// Reasons why a row cannot be said in HTTP/2.
const (
	onlySyntax = "a matter of HTTP/1's syntax: HTTP/2 frames its messages"
	oldVersion = "there is no HTTP/1.0 in HTTP/2"
	noUpgrade  = "HTTP/2 has no Upgrade and no Connection field"
)

// Reasons to be stricter than the standard library's parser.
const (
	oneFraming   = "exactly one framing, said once: whoever is behind us might choose the other one (RFC 9112, 6.3 allows to refuse)"
	folding      = "whoever is behind us might not unfold it (RFC 9112, 5.2 asks to refuse or replace it)"
	onlyCRLF     = "whoever is behind us might not end the line there (RFC 9112, 2.2 allows it, and smuggling lives on it)"
	noFragment   = "a target has no fragment (RFC 9112, 3.2); origins cut it off or do not"
	strictHost   = "Host chooses the site, so it is a name or an address, with a port or without (RFC 9112, 3.2)"
	notServed    = "a reverse proxy opens no tunnels and echoes no requests"
	otherVersion = "not a version that we speak"
	aLimit       = "beyond a limit of ours"
)

// A request, and an answer.
const (
	Get   = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	Hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
)

const wildcard = "<*>"

// Refused is an answer that refuses a request and closes.
func Refused(status string) string {
	return "HTTP/1.1 " + status + "\r\n<*>Connection: close\r\n\r\n<*>"
}

// Cases is the table: every driver, the whole proxy with every engine, HTTP/2, and the standard library's parser are held to it.
var Cases = slices.Concat(plainRequests, answers, upgrades, refusedLate, large, strictRequests, strictAnswers)

// With returns the row as it must come out where d holds; nil: as it is.
func (c Case) With(d *Deviation) Case {
	if d != nil && d.Origin != nil {
		c.Origin = d.Origin
	}
	if d != nil && d.Client != "" {
		c.Client = d.Client
	}
	return c
}

// SeedMost is the length of the longest row of the table that seeds a fuzz target: fuzzing long input finds little.
const SeedMost = 4 << 10
