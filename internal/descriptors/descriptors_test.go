package descriptors

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestKept: a quarter, and no more than is needed.
func TestKept(t *testing.T) {
	for limit, want := range map[uint64]uint64{0: 0, 64: 16, 200: 50, 1024: most, 1 << 20: most, 1<<64 - 1: most} {
		if got := Kept(limit); got != want {
			t.Errorf("%d of %d are kept, want %d", got, limit, want)
		}
	}
}

// TestLastOnesAreNotForTraffic: by their numbers, as errors, for connections and for files; one minute has one word in the log.
func TestLastOnesAreNotForTraffic(t *testing.T) {
	limit := openLimit()
	if limit > 1<<40 {
		t.Skip("this process may open as many as it likes")
	}
	var log bytes.Buffer
	traffic := New(slog.New(slog.NewTextHandler(&log, nil)))
	first := uintptr(limit - Kept(limit))
	if !traffic.Keep(3) || !traffic.Keep(first-1) || traffic.Keep(first) || traffic.Keep(uintptr(limit-1)) {
		t.Error("the border is elsewhere")
	}
	if traffic.Short() != 2 || strings.Count(log.String(), "descriptors are short") != 1 || !strings.Contains(log.String(), fmt.Sprint("limit=", limit)) {
		t.Errorf("counted %d, said %s", traffic.Short(), log.String())
	}
	for err, want := range map[error]bool{
		ErrKept: true, fmt.Errorf("dial: %w", ErrKept): true, &net.OpError{Err: os.NewSyscallError("socket", syscall.EMFILE)}: true,
		syscall.ECONNREFUSED: false, errors.New("too many open files"): false,
	} {
		if got := traffic.Out(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if traffic.Short() != 3 {
		t.Errorf("counted %d, want 3: what Keep has refused is counted once", traffic.Short())
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !traffic.KeepOpen(f) || !traffic.Room(8) {
		t.Error("there is room, and it says that there is none")
	}
}

// TestRoomIsCheap: an agent asks with each check whether there is room. Each descriptor costs its path, and
// nothing that the runtime keeps for a file.
func TestShare(t *testing.T) {
	kept := int(Kept(openLimit()))
	if got := Share(4); got != max(kept/4, 1) {
		t.Errorf("a quarter of %d is %d", kept, got)
	}
	if got := Share(1 << 20); got != 1 {
		t.Errorf("a tiny part is %d", got)
	}
}

func TestRoomIsCheap(t *testing.T) {
	traffic := New(slog.New(slog.DiscardHandler))
	if n := testing.AllocsPerRun(100, func() { traffic.Room(2) }); n > 2 {
		t.Errorf("%v allocations for two, want two at most", n)
	}
}
