package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// heldBody is the largest request body with a declared length that is read
// before an instance is chosen: it can be sent again, and a slow client holds no
// instance meanwhile.
const heldBody = 64 << 10

// clientBody reads a request body under the limits of time, rate and size. A
// deadline is set for each piece, so that a body may take as long as it needs
// while it keeps coming.
type clientBody struct {
	body  io.ReadCloser
	rc    *http.ResponseController
	max   int64         // bytes of the body
	pause time.Duration // without a byte
	grace time.Duration // before the rate holds
	rate  int64         // bytes a second on average
	clear bool          // HTTP/2: a deadline that stays would end the stream
	in    *http.Request // for its trailer
	out   http.Header   // trailer to send on, filled at the end

	guard *guard // knows why a body is not sound; nil for HTTP/2

	n     atomic.Int64
	began time.Time
	ended atomic.Bool // read to its end
}

func (b *clientBody) Read(p []byte) (int, error) {
	now := time.Now()
	if b.began.IsZero() {
		b.began = now
	}
	_ = b.rc.SetReadDeadline(now.Add(b.pause))
	n, err := b.body.Read(p)
	if b.clear {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	total := b.n.Add(int64(n))
	if total > b.max {
		return 0, errBodyTooBig
	}
	if took := time.Since(b.began) - b.grace; took > 0 && total < int64(took.Seconds()*float64(b.rate)) {
		return n, errSlowClient
	}
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		b.end()
		return n, io.EOF
	}
	if b.guard != nil {
		if f := b.guard.broken.Load(); f != nil {
			return n, f
		}
	}
	return n, bodyError(err)
}

// end takes over the trailer fields that were announced and may travel.
func (b *clientBody) end() {
	b.ended.Store(true)
	_ = b.rc.SetReadDeadline(time.Time{})
	for name := range b.out {
		b.out[name] = b.in.Trailer[name]
	}
}

// abandon makes a blocked Read return.
func (b *clientBody) abandon() { _ = b.rc.SetReadDeadline(past) }

// whole reports whether the body has been read to its end.
func (b *clientBody) whole() bool { return b.ended.Load() }

// bodyError words what net/http says about a body that did not come whole.
func bodyError(err error) error {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case isTimeout(err):
		return errSlowClient
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errBodyShort
	}
	return errClientGone
}

// announced returns the trailer fields of a request that may be passed on, yet
// without values.
func announced(r *http.Request) http.Header {
	var h http.Header
	for name := range r.Trailer {
		if trailerAllowed(name) {
			if h == nil {
				h = http.Header{}
			}
			h[name] = nil
		}
	}
	return h
}
