// Package descriptors keeps some of a process's file descriptors away from traffic, for everything else that it does: the catalog, the
// gossip, administration, certificates, logs, what an agent fetches and starts. Clients who take all that a process may have would
// otherwise stop those, and etcd for good.
//
// The system gives a new descriptor the lowest number that is free. So its number says how many others there are at least, and one among
// the last numbers says that few are left. Who opened it for traffic closes it again and does what it would do if there had been none.
package descriptors

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"
)

// most is what is kept at the most. A proxy alone has 36 descriptors after its start, and had 38 at the most while three commands at a time
// changed something. Members hold connections on top of that, gossip takes half of it for streams at the most, strangers a quarter at the
// admin port and an eighth at the catalog's, etcd opens files while it cuts its log.
const most = 128

// Kept returns how many descriptors of a limit traffic may not have.
func Kept(limit uint64) uint64 { return min(limit/4, most) }

// Share is a part of what this process keeps from traffic, one in so many, and one at least: how many strangers may have connections at
// a listener that is none of traffic's.
func Share(of int) int { return max(int(Kept(openLimit()))/of, 1) }

// ErrKept is what traffic gets in place of a descriptor that it may not keep. It is EMFILE as well.
var ErrKept = fmt.Errorf("the last descriptors are not for traffic: %w", syscall.EMFILE)

// quiet is between two words in the log.
const quiet = time.Minute

// Traffic opens descriptors for traffic. Its methods may be used concurrently.
type Traffic struct {
	log   *slog.Logger
	end   atomic.Uint64 // the first number that is not for traffic, when the limit was last asked for
	short atomic.Uint64
	said  atomic.Int64 // Unix nanoseconds of the last word in the log
}

// New returns one that tells log when descriptors are short, once a minute at most.
func New(log *slog.Logger) *Traffic { return &Traffic{log: log} }

// Keep reports whether traffic may keep a descriptor that it has just opened; else it is to be closed.
func (t *Traffic) Keep(fd uintptr) bool {
	if uint64(fd) < t.end.Load() {
		return true
	}
	limit := openLimit() // somebody may have raised it, and nobody has asked yet
	t.end.Store(limit - Kept(limit))
	if uint64(fd) < limit-Kept(limit) {
		return true
	}
	t.noteShort(limit)
	return false
}

// KeepOpen is Keep for a connection or a file.
func (t *Traffic) KeepOpen(c any) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	return err != nil || t.Control("", "", raw) == nil
}

// Room reports whether there are n descriptors for traffic, by opening as many for a moment.
func (t *Traffic) Room(n int) bool {
	if n == 0 {
		return true
	}
	fd, err := openSpare()
	if err != nil {
		return !t.Out(err) // another error says nothing of descriptors
	}
	defer closeSpare(fd)
	return t.Keep(fd) && t.Room(n-1)
}

// Control is for net.Dialer: it refuses a socket that traffic may not keep.
func (t *Traffic) Control(_, _ string, c syscall.RawConn) error {
	kept := true
	_ = c.Control(func(fd uintptr) { kept = t.Keep(fd) })
	if !kept {
		return ErrKept
	}
	return nil
}

// Out reports whether err says that there was no descriptor for traffic.
func (t *Traffic) Out(err error) bool {
	if errors.Is(err, ErrKept) {
		return true
	}
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return false
	}
	limit := openLimit()
	t.end.Store(limit - Kept(limit)) // somebody may have lowered it
	t.noteShort(limit)
	return true
}

// Short is how often traffic got no descriptor.
func (t *Traffic) Short() uint64 { return t.short.Load() }

func (t *Traffic) noteShort(limit uint64) {
	n := t.short.Add(1)
	now, said := time.Now().UnixNano(), t.said.Load()
	if now-said < int64(quiet) || !t.said.CompareAndSwap(said, now) {
		return
	}
	t.log.Warn("descriptors are short: connections of visitors are refused or wait, the last ones are kept for everything else",
		"limit", limit, "kept", Kept(limit), "times", n, "remedy", "raise LimitNOFILE of the unit (ulimit -n)")
}
