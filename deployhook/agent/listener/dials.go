package listener

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
	dialTime = 4 * time.Second // less than proxies wait for a connection (proxy.timeouts.connect)
	// A dial on loopback is answered at once, or its instance hangs: so many may be under way when none was answered for dialsHang. A crowd
	// that comes at once on a busy machine has more, whose answers come.
	dialsMost = 64
	dialsHang = time.Second
	dialsRoom = handshakes / 2 // however many are answered: the others share the room
)

var errDialsHang = errors.New("connections to it hang")

// dials connects to instances. One that hangs must not take the room that the
// handshakes of all share.
type dials struct {
	dialer  func(allow func(uid int) error) *portowner.Dialer
	traffic *descriptors.Traffic

	mu  sync.Mutex
	now map[string]*dialing // by instance, guarded by mu
}

// dialing is what is under way to one instance.
type dialing struct {
	count int
	moved time.Time // when one was answered, or the first of these began
}

func (d *dials) dial(ctx context.Context, instance, addr string, ok func(uid int) error) (net.Conn, error) {
	if !d.begin(instance, time.Now()) {
		return nil, errDialsHang
	}
	dialer := d.dialer(ok)
	dialer.Timeout, dialer.Control = dialTime, d.traffic.Control
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
	if n.count >= dialsRoom || n.count >= dialsMost && now.Sub(n.moved) > dialsHang {
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
