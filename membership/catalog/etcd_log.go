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
}

func lower(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}
