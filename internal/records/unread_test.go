package records_test

import (
	"io"
	"net"
	"testing"

	"portico/internal/records"
	"portico/tests/support/selfsigned"
)

// between is the network below a relay's end: it may change what passes.
type between struct {
	net.Conn
	change func(b []byte) []byte // of the write that ends the connection; nil: nothing yet
}

func (c *between) Write(b []byte) (int, error) {
	if c.change == nil {
		return c.Conn.Write(b)
	}
	_, err := c.Conn.Write(c.change(b))
	return len(b), err
}

const mark = 5 + 32 // the size of the record that bears the proof

// TestUnread: an end that says that nothing was read is believed only with this connection's own proof behind TLS's alert. Nobody in
// between can make one, carry one over from another connection, or keep back what was sent before it.
func TestUnread(t *testing.T) {
	var other []byte // another connection's
	for _, row := range []struct {
		name   string
		said   bool // by the relay
		bytes  string
		change func(b []byte) []byte
		want   bool
	}{
		{name: "said", said: true, want: true, change: func(b []byte) []byte { other = append(other, b[len(b)-mark:]...); return b }},
		{name: "not said", change: func(b []byte) []byte { return b }},
		{name: "wrong", said: true, change: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{name: "short", said: true, change: func(b []byte) []byte { return b[:len(b)-1] }},
		{name: "nothing proved", change: func(b []byte) []byte {
			return append(append([]byte{}, b...), append([]byte{31, 3, 3, 0, 32}, make([]byte, 32)...)...)
		}},
		{name: "of another connection", change: func(b []byte) []byte { return append(append([]byte{}, b...), other...) }},
		{name: "without the alert", said: true, change: func(b []byte) []byte { return b[len(b)-mark:] }},
		{name: "before the alert", said: true, change: func(b []byte) []byte {
			return append(append([]byte{}, b[len(b)-mark:]...), b[:len(b)-mark]...)
		}},
		{name: "behind bytes", said: true, bytes: "answer", want: true, change: func(b []byte) []byte { return b }},
	} {
		t.Run(row.name, func(t *testing.T) {
			near, far := pair(t)
			net := &between{Conn: near}
			end := &records.Ending{Conn: net}
			below := &records.Conn{Conn: far}
			k, c := selfsigned.Pair(t, end, below)
			_, _ = io.WriteString(k, row.bytes)
			net.change = row.change
			if row.said {
				_ = end.CloseUnread(k)
			} else {
				_ = k.CloseWrite()
			}
			_ = near.Close()
			if got, _ := io.ReadAll(c); string(got) != row.bytes {
				t.Errorf("read %q", got)
			}
			if got := below.Unread(c); got != row.want {
				t.Errorf("unread is %v", got)
			}
		})
	}
}

// pair is both ends of a connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}
