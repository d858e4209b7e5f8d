package streams

import (
	"context"
	"io"
	"net/http"
	"time"

	"portico/internal/refusal"
)

// An upload must bring something within uploadPause and, after uploadGrace,
// uploadRate bytes a second on average: slower ones hold a place for nothing.
const (
	uploadPause = 30 * time.Second
	uploadGrace = 30 * time.Second
	uploadRate  = 4 << 10
)

// Upload moves the read deadline with each read and gives up on a client
// that is too slow.
type Upload struct {
	ctx   context.Context // of the request: its end ends a read
	body  io.ReadCloser
	rc    *http.ResponseController
	begun time.Time
	got   int64
}

// NewUpload returns the body of a request that began then, and that ctx ends.
func NewUpload(ctx context.Context, w http.ResponseWriter, body io.ReadCloser, begun time.Time) *Upload {
	return &Upload{ctx: ctx, body: body, rc: http.NewResponseController(w), begun: begun}
}

// Read implements io.Reader.
func (b *Upload) Read(p []byte) (int, error) {
	now := time.Now()
	if age := now.Sub(b.begun); age > uploadGrace && b.got < int64(age/time.Second)*uploadRate {
		return 0, refusal.New(http.StatusRequestTimeout, "too_slow", "", "the upload brought %d bytes in %s", b.got, age.Round(time.Second))
	}
	_ = b.rc.SetReadDeadline(now.Add(uploadPause))
	if b.ctx.Err() != nil { // after the deadline was set: who ends the request sets his own after that
		return 0, context.Cause(b.ctx)
	}
	n, err := b.body.Read(p)
	b.got += int64(n)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close implements io.Closer.
func (b *Upload) Close() error { return b.body.Close() }
