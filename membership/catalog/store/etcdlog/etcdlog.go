// Package etcdlog makes of what etcd logs what people can use: fewer lines, each at the level that it has for a proxy.
package etcdlog

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// filter lowers the level of etcd's messages by one: its information is of use to those who debug it, and its debugging, a line for
// each transaction, to nobody. A warning that repeats is logged once a minute, with how often it came.
type filter struct {
	slog.Handler
	said *repeats
}

// New returns a handler for etcd's messages, before h.
func New(h slog.Handler) slog.Handler {
	return &filter{h, &repeats{seen: map[string]*repeat{}}}
}

// repeats remembers which messages were told in the last minute.
type repeats struct {
	mu   sync.Mutex
	seen map[string]*repeat // guarded by mu
}

type repeat struct {
	told time.Time
	more int // that were not told since
}

const (
	every = time.Minute
	most  = 256 // messages that are remembered: some bear numbers
)

// tell reports whether a message is to be told now, and how many of it were not.
func (r *repeats) tell(message string, now time.Time) (ok bool, missed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seen[message]
	switch {
	case s == nil:
		if len(r.seen) >= most {
			clear(r.seen)
		}
		r.seen[message] = &repeat{told: now}
		return true, 0
	case now.Sub(s.told) < every:
		s.more++
		return false, 0
	}
	missed, s.more, s.told = s.more, 0, now
	return true, missed
}

func (f *filter) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && f.Handler.Enabled(ctx, lower(l))
}

func (f *filter) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lower(r.Level)
	if beside[r.Message] || strings.Contains(r.Message, pendingChanges) || stepOfCommit(r.Message) {
		if r.Level = slog.LevelDebug; !f.Handler.Enabled(ctx, r.Level) {
			return nil
		}
	}
	if r.Level >= slog.LevelWarn {
		ok, missed := f.said.tell(r.Message, r.Time)
		if !ok {
			return nil
		}
		if missed > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("times", missed+1))
		}
	}
	return f.Handler.Handle(ctx, r)
}

func (f *filter) WithAttrs(a []slog.Attr) slog.Handler {
	return &filter{f.Handler.WithAttrs(a), f.said}
}
func (f *filter) WithGroup(n string) slog.Handler {
	return &filter{f.Handler.WithGroup(n), f.said}
}

// stepOfCommit reports whether a message is one of those with which bbolt tells step by step what etcd
// then says once: "failed to commit tx", with the error.
func stepOfCommit(message string) bool {
	for _, begin := range []string{"writeAt failed, offset", "writing data failed", "Committing transaction failed"} {
		if strings.HasPrefix(message, begin) {
			return true
		}
	}
	return false
}

// pendingChanges is in what raft says when a start finds a log whose end it has
// not applied yet: it campaigns again a moment later.
const pendingChanges = "since there are still pending configuration changes to apply"

// beside are warnings of etcd that do not apply here: its client listener is a private socket, its own accounts are not used, and an empty
// store has no version yet.
var beside = map[string]bool{
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true,

	// What goes on between proxies is said once, by those who know what it means:
	// that there is no majority, or that a proxy cannot be reached.
	"closed TCP streaming connection with remote peer":        true,
	"lost TCP streaming connection with remote peer":          true,
	"peer became inactive (message send to peer failed)":      true,
	"prober detected unhealthy status":                        true,
	"failed to reach the peer URL":                            true,
	"failed to get version":                                   true,
	"failed to find remote peer in cluster":                   true,
	"rejected stream from remote peer because it was removed": true,
	"waiting for ReadIndex response took too long, retrying":  true,
	"rejecting member remove request; local member has not been connected to all peers, reconfigure breaks active quorum":   true,
	"rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum": true,
	"ignored out-of-date read index response; local node read indexes queueing up and waiting to be in sync with leader":    true,
	"leadership transfer failed": true,
}

func lower(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}
