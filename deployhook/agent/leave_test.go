package agent_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// slowHands is a connection that sends its first bytes and holds what follows until go on is closed.
type slowHands struct {
	net.Conn
	goOn <-chan struct{}
	sent bool
}

func (s *slowHands) Write(b []byte) (int, error) {
	if s.sent {
		<-s.goOn
	}
	s.sent = true
	return s.Conn.Write(b)
}

// TestLeaveAwaitsHandshakes: who was taken in before the listener closed is served, also when its
// handshake was not over then.
func TestLeaveAwaitsHandshakes(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	a := c.start(c.options(dir))
	inst := c.site(runSettings())
	raw, err := net.Dial("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	config := c.ca.client(t, "proxy1")
	config.ServerName = inst.ID + ".instance"
	goOn := make(chan struct{})
	conn := tls.Client(&slowHands{Conn: raw, goOn: goOn}, config)
	shaken := make(chan error, 1)
	go func() { shaken <- conn.Handshake() }()

	left := make(chan error, 1)
	go func() { left <- a.Leave(context.Background()) }()
	for { // until it is deaf
		other, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			break
		}
		_ = other.Close()
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("answer %v: %v", res, err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	c.start(c.options(dir)) // adopts the site, and ends it with the test
}
