package membership

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// nudges pass the catalog's revision around. Sending is slowed to ten a second
// at most, of which only the last revision matters; receiving keeps the last.
type nudges struct {
	mu   sync.Mutex
	next int64         // to be sent, 0: nothing
	wake chan struct{} // capacity 1

	in chan int64 // capacity 1, the latest received
}

const nudgePause = 100 * time.Millisecond

func newNudges() *nudges {
	return &nudges{wake: make(chan struct{}, 1), in: make(chan int64, 1)}
}

func (n *nudges) request(revision int64) {
	n.mu.Lock()
	n.next = max(n.next, revision)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run sends what was requested, the first at once, until ctx ends.
func (n *nudges) run(ctx context.Context, send func(int64)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		n.mu.Lock()
		revision := n.next
		n.next = 0
		n.mu.Unlock()
		if revision > 0 {
			send(revision)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nudgePause):
		}
	}
}

// received keeps the latest revision for whoever reads. It need not be the
// highest: a forged one must not outshine those that come after it.
func (n *nudges) received(revision int64) {
	for {
		select {
		case n.in <- revision:
			return
		default:
		}
		select {
		case <-n.in:
		default:
		}
	}
}

// Nudge tells the other members, and this one, that the catalog has reached a
// revision. It returns at once; of many calls in a row only the last is sent.
func (c *Cluster) Nudge(revision int64) { c.nudges.request(revision) }

// Revisions returns the channel of revisions that others nudged about, this
// member's own included. It holds the latest only; one goroutine should read
// it. A revision is a hint to go and look, forgeable by whoever has the key.
func (c *Cluster) Revisions() <-chan int64 { return c.nudges.in }

func (c *Cluster) sendRevision(revision int64) {
	err := c.serf.UserEvent(eventRevision, []byte(strconv.FormatInt(revision, 10)), false)
	if err != nil && c.ctx.Err() == nil {
		c.log.Debug("nudge members", "revision", revision, "error", err)
	}
}
