package loop

import (
	"syscall"
	"testing"

	"portico/proxy/wire"
)

// TestKeptBytesAreNotTheLast: behind bytes that were kept there may be more, of which an event has told meanwhile and will not tell again.
func TestKeptBytesAreNotTheLast(t *testing.T) {
	l, s := &loop{}, &sock{slot: 1}
	l.early.arrivals[0] = arrival{s: s, from: []byte("kept"), res: 4}
	l.early.n, l.early.unread = 1, 1
	l.keep()
	b := make([]byte, 10)
	n, res := l.take(s, b)
	if string(b[:n]) != "kept" || res != 0 || !s.ready || s.slot != 0 || len(l.early.kept) != 0 {
		t.Errorf("got %q, result %d, ready %v, slot %d, %d kept; the socket must be read on", b[:n], res, s.ready, s.slot, len(l.early.kept))
	}
}

// TestKeptResetIsNoEnd: the kernel tells of a reset once. Who received it early and had no use for it must not make the next read, which
// finds nothing, the orderly end of an answer.
func TestKeptResetIsNoEnd(t *testing.T) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(fds[1])
	defer func() { _ = syscall.Close(fds[0]) }()
	for res, want := range map[int32]wire.Result{-int32(syscall.ECONNRESET): wire.Failed, 0: wire.EOF} {
		l, s := &loop{}, &sock{slot: 1, fd: int32(fds[0])}
		l.early.arrivals[0] = arrival{s: s, res: res}
		l.early.n, l.early.unread = 1, 1
		l.keep()
		if _, got := l.readPlain(s, make([]byte, 10)); got != want {
			t.Errorf("after %d was received early, the next read is %d, want %d", res, got, want)
		}
	}
}
