package catalog

import (
	"context"
	"log/slog"
	"strings"
)

// quiet lowers etcd's level by one: what it calls information is of use to those
// who debug it only, and what it calls debugging, each transaction, to nobody.
type quiet struct{ slog.Handler }

func (q *quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && q.Handler.Enabled(ctx, lower(l))
}

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lower(r.Level)
	if beside[r.Message] || strings.Contains(r.Message, pendingChanges) {
		if r.Level = slog.LevelDebug; !q.Handler.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return q.Handler.Handle(ctx, r)
}

func (q *quiet) WithAttrs(a []slog.Attr) slog.Handler { return &quiet{q.Handler.WithAttrs(a)} }
func (q *quiet) WithGroup(n string) slog.Handler      { return &quiet{q.Handler.WithGroup(n)} }

// pendingChanges is in what raft says when a start finds a log whose end it has
// not applied yet: it campaigns again a moment later.
const pendingChanges = "since there are still pending configuration changes to apply"

// beside are warnings of etcd that do not touch this use of it: its client
// listener is a private socket, its own accounts are not used, and an empty
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
