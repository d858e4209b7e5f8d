package rig

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Asker is a client with one connection.
type Asker struct {
	t  *testing.T
	c  net.Conn
	br *bufio.Reader
}

// NewAsker makes one of a connection.
func NewAsker(t *testing.T, c net.Conn) *Asker {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return &Asker{t: t, c: c, br: bufio.NewReader(c)}
}

// Ask sends a GET, with an Authorization field where one is given, and returns status and body: "200 you are alice", "401 "; "closed"
// when there is no answer.
func (a *Asker) Ask(host, path, authorization string) string {
	a.t.Helper()
	field := ""
	if authorization != "" {
		field = "Authorization: " + authorization + "\r\n"
	}
	if _, err := fmt.Fprintf(a.c, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, field); err != nil {
		return "closed"
	}
	r, err := http.ReadResponse(a.br, nil)
	if err != nil {
		return "closed"
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "cut"
	}
	return fmt.Sprintf("%d %s", r.StatusCode, b)
}

// SignIn makes the handshake of a scheme.
func (a *Asker) SignIn(host, scheme, name string) {
	a.t.Helper()
	if got := a.Ask(host, "/", ""); !strings.HasPrefix(got, "40") {
		a.t.Fatalf("before the handshake: %q", got)
	}
	if got := a.Ask(host, "/", scheme+" "+FirstStep()); got != "401 " {
		a.t.Fatalf("first step: %q", got)
	}
	if got := a.Ask(host, "/", scheme+" "+SecondStep(name)); got != "200 you are "+name {
		a.t.Fatalf("second step: %q", got)
	}
}

// Close ends its connection.
func (a *Asker) Close() { _ = a.c.Close() }

// Closed reports whether the other side ends the connection, without a word.
func (a *Asker) Closed() bool {
	n, err := a.c.Read(make([]byte, 1))
	return n == 0 && err != nil
}
