package handover_test

import (
	"io"
	"net"
	"testing"
	"testing/iotest"

	"portico/internal/handover"
)

func TestPrefixed(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() { _, _ = io.WriteString(far, " and the rest"); _ = far.Close() }()
	read := []byte("first")
	c := handover.Prefixed(near, read)
	copy(read, "XXXXX") // it is the caller's again
	if b, err := io.ReadAll(iotest.OneByteReader(c)); string(b) != "first and the rest" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if handover.Prefixed(near, nil) != near {
		t.Error("nothing was read, and the connection is another")
	}
}

func TestClientTellsItsEndOnce(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	ends := 0
	addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	for _, c := range []*handover.Client{
		{Conn: near, Remote: addr, Closed: func() { ends++ }}, {Remote: addr, Closed: func() { ends++ }}, {Conn: near, Remote: addr},
	} {
		ends = 0
		_, _ = c.CloseWrite(), c.Close()
		c.Done()
		_ = c.Close()
		if want := min(1, ends); ends != want || c.Closed != nil && ends != 1 {
			t.Errorf("its end was told %d times", ends)
		}
		if c.RemoteAddr() != net.Addr(addr) {
			t.Errorf("the client is %v", c.RemoteAddr())
		}
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("the connection is open")
	}
}
