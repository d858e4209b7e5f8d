package catalog

import (
	"context"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"portico/internal/pause"
)

const (
	standAgain = 2 * time.Millisecond // between two tries to be elected; the first may come before the log is applied
	standRest  = 100 * time.Millisecond
)

// stand has the only proxy elect itself at once. Raft would wait for one to five ticks, and ticks that are short enough
// for a quick start would wake the process fifty times a second for as long as it lives. The word for it is the one by
// which a leader hands over to whom it names.
func (s *store) stand(r *running) {
	server := r.etcd.Server
	ctx, cancel := context.WithCancel(s.broken)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-r.stopping:
		case <-server.StopNotify():
		case <-ctx.Done():
		}
	}()
	for wait := standAgain; server.Leader() == 0; wait = min(2*wait, standRest) {
		id := uint64(server.MemberID())
		_ = server.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: &id, From: &id}) // asked again below
		if pause.For(ctx, wait) != nil {
			return
		}
	}
}
