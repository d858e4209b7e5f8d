package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Event is one change of a key.
type Event struct {
	Item
	Deleted bool // the item has no value
}

// Watch calls changed with all that happens from revision on, until ctx or the watch ends, and returns why it
// ended. The events of one revision come in one call. A call without events tells that the store is at a revision
// and has nothing new up to there.
func (s *Store) Watch(ctx context.Context, revision int64, changed func(events []Event, revision int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.outside {
		ctx = clientv3.WithRequireLeader(ctx) // a member that is cut off from its own cluster says so
	}
	for r := range s.client().Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision)) {
		switch {
		case r.Err() != nil:
			return r.Err()
		case len(r.Events) > 0:
			events := make([]Event, len(r.Events))
			for i, e := range r.Events {
				events[i] = Event{Item{string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision}, e.Type == clientv3.EventTypeDelete}
			}
			changed(events, events[len(events)-1].Revision)
		case r.IsProgressNotify():
			changed(nil, r.Header.Revision)
		}
	}
	return nil
}

// progressEvery is how often a change that waits for its view asks the etcd how
// far its watch is.
const progressEvery = 50 * time.Millisecond

// AskProgress has the watch tell its revision until the returned function is
// called: keys beside ours move an outside etcd's revision on without an event for us.
func (s *Store) AskProgress(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx)) // as the watch: the stream goes by it
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = s.client().RequestProgress(ctx) // an etcd that is away is met by whoever waits
			}
		}
	}()
	return func() { cancel(); <-done }
}
