package membership

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func head(kind byte, length uint32, version byte) []byte {
	b := []byte{kind, 0, 0, 0, 0, version}
	binary.BigEndian.PutUint32(b[1:], length)
	return b
}

func TestCheckStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		head []byte
		ok   bool
	}{
		{"good", head(10, 30, 1), true},
		{"largest", head(10, maxStreamLen, 1), true},
		{"too large", head(10, maxStreamLen+1, 1), false},
		{"huge", head(10, 1<<32-1, 1), false},
		{"empty text", head(10, 29, 1), false},
		{"nothing", head(10, 0, 1), false},
		{"old cipher", head(10, 30, 0), false},
		{"unknown cipher", head(10, 30, 2), false},
		{"plain push", head(6, 30, 1), false},
		{"label", head(244, 30, 1), false},
	} {
		if err := checkStream(tt.head); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A stream yields its one message, byte for byte, and no more.
func TestStreamReads(t *testing.T) {
	ours, theirs := net.Pipe()
	message := append(head(10, 40, 1), bytes.Repeat([]byte("x"), 39)...)
	go func() {
		_, _ = theirs.Write(append(bytes.Clone(message), "another request"...))
		_ = theirs.Close()
	}()
	released := 0
	s := &stream{Conn: ours, release: func() { released++ }}
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, message) {
		t.Errorf("got %d bytes %q, %v", len(got), got, err)
	}
	_ = s.Close()
	_ = s.Close()
	if released != 1 {
		t.Errorf("slot given back %d times", released)
	}
}

func FuzzStream(f *testing.F) {
	f.Add(head(10, 30, 1))
	f.Add(append(head(10, 31, 1), make([]byte, 60)...))
	f.Add([]byte{10})
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		go func() { _, _ = theirs.Write(data); _ = theirs.Close() }()
		s := &stream{Conn: ours}
		got, err := io.ReadAll(s)
		_ = s.Close()
		// A connection that ends before its first byte is an end, and no fault.
		if err == nil && len(got) > 0 && len(got) < streamHead || len(got) > len(data) || !bytes.HasPrefix(data, got) {
			t.Fatalf("read %x of %x, %v", got, data, err)
		}
	})
}

// The self-test answers only who has a key, with no more than it got, and
// not without bound.
func TestSelfTestAnswers(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeyLen)
	var sent [][]byte
	s := newSelfTest(func() [][]byte { return [][]byte{key} }, func(b []byte, _ netip.AddrPort) { sent = append(sent, b) })
	now := noon
	s.now = func() time.Time { return now }
	from := netip.MustParseAddrPort("192.0.2.1:7946")
	ask := testPacket(testAsk, [16]byte{1}, key)
	for _, tt := range []struct {
		name  string
		b     []byte
		taken bool
	}{
		{"gossip", []byte{1, 2, 3}, false}, {"nothing", nil, false}, {"short", ask[:20], true}, {"long", append(bytes.Clone(ask), 0), true},
		{"other key", testPacket(testAsk, [16]byte{1}, bytes.Repeat([]byte{8}, KeyLen)), true},
		{"answer unasked", testPacket(testAnswer, [16]byte{1}, key), true},
		{"answer made of a question", append([]byte{testMagic, testAnswer}, ask[2:]...), true},
	} {
		if got := s.handle(tt.b, from); got != tt.taken || len(sent) != 0 {
			t.Errorf("%s: taken %t, %d answers", tt.name, got, len(sent))
		}
	}
	for range 3 * maxAnswers {
		s.handle(ask, from)
	}
	if len(sent) != maxAnswers || len(sent[0]) != len(ask) {
		t.Errorf("%d answers", len(sent))
	}
	now = now.Add(time.Second)
	if s.handle(ask, from); len(sent) != maxAnswers+1 {
		t.Error("silent in the next second")
	}
}

func TestLogBridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := newLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
		l.Printf("[DEBUG] memberlist: Stream connection from=1.2.3.4")
		l.Printf("[INFO] serf: EventMemberJoin: x")
		l.Printf("[WARN] serf: Failed to re-join any previously known node")
		l.Printf("[WARN] serf: Shutdown without a Leave")
		l.Printf("[WARN] memberlist: Refuting an alive message for 'server-1' (127.0.0.1:7946) meta:([255 132 161] VS [255 132 162]), vsn:([1 5 2] VS [1 5 2])")
		l.Printf("[WARN] memberlist: Refuting a suspect message (from: server-2)")
		l.Printf("[WARN] memberlist: Refuting a dead message (from: server-2)")
		l.Printf("[ERR] memberlist: Push/Pull with server-1 failed: dial tcp 127.0.0.1:43617: connect: connection refused")
		l.Printf("[ERR] memberlist: Failed to send gossip to 127.0.0.1:40557: write udp 127.0.0.1:35533->127.0.0.1:40557: use of closed network connection")
		if out.Len() > 0 {
			t.Errorf("chatter: %s", out.String())
		}
		for range 1000 {
			l.Printf("[ERR] memberlist: Decrypt packet failed: junk\nlevel=ERROR msg=forged")
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != logBurst || !strings.Contains(lines[0], `level=WARN msg=gossip from=memberlist text="Decrypt packet failed: junk\nlevel`) {
			t.Errorf("%d lines: %s", len(lines), lines[0])
		}
		out.Reset()
		time.Sleep(2 * time.Second)
		l.Printf("[WARN] serf: something")
		if !strings.Contains(out.String(), "suppressed=980") {
			t.Errorf("%s", out.String())
		}
	})
}

// Of many nudges in a row the last is sent, and soon.
func TestNudgesAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNudges()
		var sent []int64
		done := make(chan struct{})
		ctx := t.Context()
		go func() { defer close(done); n.run(ctx, func(r int64) { sent = append(sent, r) }) }()
		n.request(1)
		synctest.Wait()
		for r := range int64(1000) {
			n.request(r)
		}
		time.Sleep(2 * nudgePause)
		synctest.Wait()
		if len(sent) != 2 || sent[0] != 1 || sent[1] != 999 {
			t.Errorf("sent %v", sent)
		}
		n.received(1 << 60)
		n.received(5)
		if got := <-n.in; got != 5 {
			t.Errorf("a forged revision stays: %d", got)
		}
	})
}
