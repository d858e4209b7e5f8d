package loop_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/wire"
)

// TestUpstreamThatShakesNoHands: an upstream that takes a connection and says nothing of TLS has no longer than the connection may take.
func TestUpstreamThatShakesNoHands(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	up := &exchange.Upstream{Addr: ln.Addr().String(), TLS: &tls.Config{ServerName: "a", MinVersion: tls.VersionTLS13}}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := rig.Start(t, loops(1), exchange.Options{
		Config:    exchange.Config{Handler: &mixer{up: up}, Timeouts: wire.Timeouts{Connect: 300 * time.Millisecond}},
		Listeners: []exchange.Listener{{Listener: front}},
	})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil || len(b) < 12 || string(b[9:12]) != "504" && string(b[9:12]) != "502" {
		t.Errorf("%q, %v", b, err)
	}
}
