package rig

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Identity is an origin that authenticates connections, as those with Windows authentication do: after a handshake of two requests, or
// one with a ticket, every request on the connection is that person's. It answers "you are NAME", or 401.
type Identity struct {
	*Origin
	Offer string // complete lines of its 401; "": Negotiate and NTLM
	Code  int    // instead of 401; 0: 401

	mu     sync.Mutex
	hurt   string // a path: the connection is closed in place of an answer
	signed int    // open connections that are somebody's
}

// NewIdentity starts one.
func NewIdentity(t *testing.T) *Identity {
	o := &Identity{}
	o.Origin = NewRawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) { o.serve(n, c, br) })
	return o
}

// Hurt makes it close a connection on which a request for path comes.
func (o *Identity) Hurt(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurt = path
}

// FirstStep is what an Authorization field says behind its scheme at the beginning of a handshake.
func FirstStep() string { return encode("first") }

// SecondStep is what it says then.
func SecondStep(name string) string { return encode("second " + name) }

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Ticket is what an Authorization field says with a scheme whose handshake is a single step.
func Ticket(name string) string { return encode("ticket " + name) }

func (o *Identity) serve(_ int, c net.Conn, br *bufio.Reader) {
	who, begun := "", false
	for {
		text, err := ReadRequest(br, c)
		if err != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		o.mu.Lock()
		hurt := o.hurt
		o.mu.Unlock()
		o.Origin.mu.Lock()
		o.Origin.requests = append(o.Origin.requests, text)
		o.Origin.mu.Unlock()
		if r.URL.Path == hurt {
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		word, _ := base64.StdEncoding.DecodeString(token)
		step, name, _ := strings.Cut(string(word), " ")
		switch {
		case step == "first":
			begun = true
			fmt.Fprintf(c, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s %s\r\nContent-Length: 0\r\n\r\n", scheme, encode("challenge"))
			continue
		case step == "second" && begun, step == "ticket":
			if who == "" {
				o.count(1)
				defer o.count(-1)
			}
			who = name
		}
		answer := "you are " + who
		switch {
		case who == "" && (r.URL.Path == "/health" || r.URL.Path == "/public"):
			answer = "welcome"
		case who == "":
			o.challenge(c)
			continue
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

func (o *Identity) challenge(c io.Writer) {
	offer, code := o.Offer, o.Code
	if offer == "" {
		offer = "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n"
	}
	if code == 0 {
		code = 401
	}
	fmt.Fprintf(c, "HTTP/1.1 %d No\r\n%sContent-Length: 0\r\n\r\n", code, offer)
}

func (o *Identity) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.signed += n
}

// Signed returns how many open connections are somebody's.
func (o *Identity) Signed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signed
}
