package store

import (
	"context"
	"expvar"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"portico/internal/pause"
)

const (
	standAgain = 2 * time.Millisecond // between two tries to be elected
	standRest  = 100 * time.Millisecond
)

// stand has the only proxy elect itself at once. Raft would wait for one to five ticks, and ticks that are short enough
// for a quick start would wake the process fifty times a second for as long as it lives. The word for it is the one by
// which a leader hands over to whom it names.
func (s *Store) stand(r *running) {
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
		if tookIn(id) {
			_ = server.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: &id, From: &id}) // asked again below
		} else {
			wait = standAgain
		}
		if pause.For(ctx, wait) != nil {
			return
		}
	}
}

// tookIn reports whether raft itself has taken in that its log is applied. Etcd drops the beginning of the log once it has
// applied it, which on a busy machine may be before raft is told, and raft gives up for good when it stands for election then and
// looks for what is not there any more. Nobody but etcd's variable for expvar gives raft's state away; it is that of the server
// which began last, so another's says nothing.
func tookIn(id uint64) bool {
	f, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return true
	}
	s, ok := f.Value().(raft.Status)
	return !ok || s.ID != id || s.Applied >= s.GetCommit()
}
