package loop

import (
	"time"

	"portico/internal/tlstrim"
)

const (
	// inputMost is what a connection keeps while it waits of the buffer that TLS reads records into. Requests without a body fit, so that
	// who asks often gets none anew for each.
	inputMost = 4 << 10
	slackFor  = int64(time.Second)
)

// slack has the wheel look soon at a connection that begins to wait, if it holds a buffer for long records.
func (l *loop) slack(c *sock) {
	if c.tls != nil && tlstrim.Held(c.tls.conn) > inputMost {
		l.schedule(c, l.now+slackFor)
	}
}

// trimTLS gives that buffer back.
func trimTLS(c *sock) {
	if c.tls != nil && c.tls.state == tlsOpen && tlstrim.Held(c.tls.conn) > inputMost {
		tlstrim.Trim(c.tls.conn)
	}
}
