package strangers

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// link is a connection from an address that only knows whether it was closed.
type link struct {
	net.Conn
	from   string
	closed bool
}

func (l *link) RemoteAddr() net.Addr { a, _ := net.ResolveTCPAddr("tcp", l.from); return a }
func (l *link) Close() error         { l.closed = true; return nil }

func TestStrangers(t *testing.T) {
	var log bytes.Buffer
	s := New("admin", func() int { return 6 }, slog.New(slog.NewTextHandler(&log, nil)))
	enter := func(from string, n int) (links []*link, entered []*Stranger) {
		for range n {
			l := &link{from: from}
			links, entered = append(links, l), append(entered, s.Enter(l))
		}
		return links, entered
	}
	open := func(list []*link) (n int) {
		for _, l := range list {
			if !l.closed {
				n++
			}
		}
		return n
	}
	// One address may have all places, and no more.
	many, _ := enter("192.0.2.1:1000", 6)
	if open(many) != 6 || log.Len() > 0 {
		t.Fatalf("%d of 6 are open: %s", open(many), &log)
	}
	more, _ := enter("192.0.2.1:1000", 1)
	if !many[0].closed || open(many) != 5 || open(more) != 1 {
		t.Fatalf("%d of the first 6 are open", open(many))
	}
	// Who comes from elsewhere gets a place of the one who has most, and keeps it for as long as that one has more.
	few, known := enter("192.0.2.2:1000", 2)
	_, _ = enter("192.0.2.1:1000", 30)
	if open(few) != 2 {
		t.Error("the many have pushed out the few")
	}
	// Those who are known have no bound.
	for range 100 {
		friends, entered := enter("192.0.2.2:1000", 1)
		entered[0].Leave()
		few = append(few, friends...)
	}
	if open(few) != 102 {
		t.Errorf("%d of 102 are open", open(few))
	}
	known[0].Leave()
	known[0].Leave()
	if got := s.from[known[0].from]; got != 1 || len(s.all) > 6 {
		t.Errorf("%d of that address, %d in all", got, len(s.all))
	}
	// All addresses of a network of IPv6 are one machine's.
	one, _ := enter("[2001:db8::1]:1000", 1)
	_, _ = enter("[2001:db8::2]:1000", 50)
	if open(one) != 0 {
		t.Error("a machine has one place for each of its addresses")
	}
	if got := log.String(); strings.Count(got, "strangers have too many connections") != 1 || !strings.Contains(got, "listener=admin from=192.0.2.1 most=6 closed=1") {
		t.Errorf("the log says %s", got)
	}
}
