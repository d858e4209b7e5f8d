package relay

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// writeTry is how long a write to an instance waits before it tries again.
const writeTry = time.Second

// feeding is the way of a proxy's bytes to an instance. It knows whether the
// instance was given any since its own last byte. An application closes a kept
// connection when it likes, also while a request is on its way; as long as nothing
// of that was written to it, the proxy may send it once more, whatever it is. So
// feeding looks before it writes, and writes nothing more once it has told that
// nothing was read.
type feeding struct {
	inst *net.TCPConn

	mu    sync.Mutex
	look  *peeker // guarded by mu
	given bool    // guarded by mu: it may have read bytes since its last one
	over  bool    // guarded by mu: it had ended before it was given any
}

func newFeeding(inst *net.TCPConn) *feeding { return &feeding{inst: inst, look: newPeeker(inst)} }

// Write implements io.Writer. What comes too late for the instance is passed over:
// not reading it would reset the proxy's connection before it has read the end.
func (f *feeding) Write(b []byte) (int, error) {
	if !f.gives() {
		return len(b), nil
	}
	for done := 0; ; {
		// The system says that there is room again when a third of what it holds has gone. Who tries now and then takes more from the
		// proxy before that, which sees by it that a slow instance moves.
		_ = f.inst.SetWriteDeadline(time.Now().Add(writeTry))
		n, err := f.inst.Write(b[done:])
		if done += n; !errors.Is(err, os.ErrDeadlineExceeded) {
			return done, err
		}
	}
}

func (f *feeding) gives() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.given && !f.over {
		f.over = f.look.ended()
		f.given = !f.over
	}
	return !f.over
}

// answered says that the instance has sent something.
func (f *feeding) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.given = false
}

// starved is asked when the instance has ended, and reports whether it was given
// nothing since its last byte. Then it is not given anything any more either.
func (f *feeding) starved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = f.over || !f.given
	return f.over
}
