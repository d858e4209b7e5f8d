package relay_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"portico/deployhook/agent/relay"
	tlsrecords "portico/internal/records"
	"portico/tests/support/selfsigned"
)

// TestRelayTellsUnread: an end of an instance is told to the proxy as one that has read nothing where nothing came to it since its last
// byte, and as a plain one where anything did.
func TestRelayTellsUnread(t *testing.T) {
	for _, row := range []struct {
		name              string
		requests, answers int // the instance ends behind the last of them
		unread            bool
	}{
		{"at once", 0, 0, true},
		{"between two requests", 1, 1, true},
		{"with a request", 1, 0, false},
		{"with the second request", 2, 1, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			proxySide, proxyFar := tcpPair(t)
			instSide, instFar := tcpPair(t)
			below := &tlsrecords.Conn{Conn: proxyFar}
			k, c := selfsigned.Pair(t, &tlsrecords.Ending{Conn: proxySide}, below)
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { relay.Join(k, instSide, time.Minute, true) })
			wg.Go(func() {
				for i := range row.requests {
					take(instFar)
					if i < row.answers {
						_, _ = io.WriteString(instFar, "y")
					}
				}
				_ = instFar.Close()
			})
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			for i := range row.requests {
				_, _ = io.WriteString(c, "x")
				if i < row.answers {
					take(c)
				}
			}
			if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v", rest, err)
			}
			if got := below.Unread(c); got != row.unread {
				t.Errorf("unread is %v", got)
			}
			_ = c.Close()
		})
	}
}

func take(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }

// TestFeedingLooks: what comes for an instance that has ended is not given to it, also where the relay has not read its end yet; what it
// was given before counts as read until it answers.
func TestFeedingLooks(t *testing.T) {
	near, far := tcpPair(t)
	f := relay.NewFeeding(near)
	write := func() {
		t.Helper()
		if n, err := f.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	write()
	take(far)
	f.Answered()
	_ = far.CloseWrite()
	_, _ = near.Read(make([]byte, 1)) // the end has arrived
	write()
	if !f.Starved() {
		t.Error("it was given something")
	}
	write()
	_ = near.CloseWrite()
	if b, err := io.ReadAll(far); len(b) > 0 || err != nil {
		t.Errorf("it got %q, %v", b, err)
	}

	near, far = tcpPair(t)
	f = relay.NewFeeding(near)
	write()
	_ = far.CloseWrite()
	_, _ = near.Read(make([]byte, 1))
	write()
	if f.Starved() {
		t.Error("it may have read the first byte")
	}
}
