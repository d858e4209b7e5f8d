package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"portico/deployhook/agent/portowner"
	"portico/internal/descriptors"
)

const (
	relayDial = 4 * time.Second // less than proxies wait for a connection (proxy.timeouts.connect)
	// A dial on loopback is answered at once, or its instance hangs: so many may be under way when none was answered for relayHangs. A crowd
	// that comes at once on a busy machine has more, whose answers come.
	relayDials = 64
	relayHangs = time.Second
	relayMost  = handshakes / 2 // however many are answered: the others share the room
)

var errDialsHang = errors.New("connections to it hang")

// dials connects to instances. One that hangs must not take the room that the
// handshakes of all share.
type dials struct {
	dialer  func(allowed) *portowner.Dialer
	traffic *descriptors.Traffic

	mu  sync.Mutex
	now map[string]*dialing // by instance, guarded by mu
}

// dialing is what is under way to one instance.
type dialing struct {
	count int
	moved time.Time // when one was answered, or the first of these began
}

func (d *dials) dial(ctx context.Context, instance, addr string, ok allowed) (net.Conn, error) {
	if !d.begin(instance, time.Now()) {
		return nil, errDialsHang
	}
	dialer := d.dialer(ok)
	dialer.Timeout, dialer.Control = relayDial, d.traffic.Control
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	d.end(instance, err == nil || !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil, time.Now())
	return conn, err
}

func (d *dials) begin(instance string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil {
		d.now = make(map[string]*dialing)
	}
	n := d.now[instance]
	if n == nil {
		n = &dialing{moved: now}
		d.now[instance] = n
	}
	if n.count >= relayMost || n.count >= relayDials && now.Sub(n.moved) > relayHangs {
		return false
	}
	n.count++
	return true
}

func (d *dials) end(instance string, answered bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.now[instance]
	if answered {
		n.moved = now
	}
	if n.count--; n.count == 0 {
		delete(d.now, instance)
	}
}
