package uring

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"portico/proxy/loop/socket"
)

// pair is two connected sockets that never block.
func pair(t *testing.T) (a, b int32) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return int32(fds[0]), int32(fds[1])
}

func ringOrSkip(t *testing.T, n uint32) *Ring {
	t.Helper()
	u, err := New(n)
	if err != nil {
		if os.Getenv("CI") == "true" && !errors.Is(err, syscall.ENOSYS) && !errors.Is(err, syscall.EPERM) {
			t.Fatal(err)
		}
		t.Skipf("this kernel, or the container's filter of system calls, has no io_uring: %v", err)
	}
	t.Cleanup(u.Close)
	return u
}

// TestRingSends: each send of a submission ends at once with what a send of its own would have returned, and the ring can be filled
// again and again.
func TestRingSends(t *testing.T) {
	u := ringOrSkip(t, 4)
	good, goodPeer := pair(t)
	full, fullPeer := pair(t)
	dead, deadPeer := pair(t)
	socket.Close(deadPeer)
	defer func() {
		for _, fd := range []int32{good, goodPeer, full, fullPeer, dead} {
			socket.Close(fd)
		}
	}()
	block := make([]byte, 64<<10)
	for {
		if _, e := socket.Write(full, block); e == syscall.EAGAIN {
			break
		}
	}
	got := make([]byte, 100)
	for round := range 10 {
		word := bytes.Repeat([]byte{byte('a' + round)}, 10+round)
		results := map[uint64]int32{}
		u.Queue(Send, full, block[:1], 1)
		u.Queue(Send, dead, word, 2)
		u.Queue(Send, good, word, 3)
		u.Queue(Send, -1, word, 4)
		if !u.Submit(4, func(data uint64, res int32) { results[data] = res }) {
			t.Fatalf("round %d: not all were taken, results %v", round, results)
		}
		want := map[uint64]int32{1: -int32(syscall.EAGAIN), 2: -int32(syscall.EPIPE), 3: int32(len(word)), 4: -int32(syscall.EBADF)}
		for data, res := range want {
			if results[data] != res {
				t.Errorf("round %d, send %d: result %d, want %d", round, data, results[data], res)
			}
		}
		n, e := socket.Read(goodPeer, got)
		if e != 0 || !bytes.Equal(got[:n], word) {
			t.Errorf("round %d: the peer got %q, %v", round, got[:n], e)
		}
	}
}

// TestRingShortSend: what a socket has no room for is told, not sent later.
func TestRingShortSend(t *testing.T) {
	u := ringOrSkip(t, 1)
	a, b := pair(t)
	defer socket.Close(a)
	defer socket.Close(b)
	big := make([]byte, 8<<20)
	sent := int32(0)
	if !u.submit1(a, big, &sent) || sent <= 0 || int(sent) >= len(big) {
		t.Fatalf("%d of %d bytes sent to a socket that nobody reads", sent, len(big))
	}
	total := 0
	for buf := make([]byte, 1<<20); ; {
		n, e := socket.Read(b, buf)
		if e == syscall.EAGAIN {
			break
		}
		if e != 0 {
			t.Fatal(e)
		}
		total += int(n)
	}
	if total != int(sent) {
		t.Errorf("%d bytes arrived, %d were told", total, sent)
	}
}

// submit1 does one send.
func (u *Ring) submit1(fd int32, b []byte, res *int32) bool {
	u.Queue(Send, fd, b, 0)
	return u.Submit(1, func(_ uint64, n int32) { *res = n })
}

// TestRingRefuses: a kernel that takes nothing is told from one that takes all.
func TestRingRefuses(t *testing.T) {
	u := ringOrSkip(t, 2)
	a, b := pair(t)
	defer socket.Close(a)
	defer socket.Close(b)
	fd := u.FD
	u.FD = a // no ring
	u.Queue(Send, a, []byte("x"), 0)
	if u.Submit(1, func(uint64, int32) { t.Error("told of a send that was not made") }) {
		t.Error("a submission that was refused looks like one that was taken")
	}
	u.FD = fd
}
