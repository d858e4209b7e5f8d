package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// pump sends a request body to an instance while its answer may already come.
// A nil *pump is one that has nothing to send.
type pump struct {
	ctx  context.Context
	c    *originConn
	r    *outgoing
	done chan struct{}

	mu      sync.Mutex
	err     error // guarded by mu
	client  bool  // guarded by mu: err is the client's fault
	whole   bool  // guarded by mu: everything was sent
	stopped bool  // guarded by mu
}

// newPump starts to send r.body on c.
func newPump(ctx context.Context, c *originConn, r *outgoing) *pump {
	p := &pump{ctx: ctx, c: c, r: r, done: make(chan struct{})}
	go p.run()
	return p
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (p *pump) run() {
	defer close(p.done)
	fromClient, err := p.send()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.err, p.client, p.whole = err, fromClient, err == nil
	switch {
	case err == nil:
		// The instance's time to answer counts from here.
		_ = p.c.SetReadDeadline(time.Now().Add(p.r.headBudget))
	case fromClient:
		// The instance must never take what it got for a whole request.
		_ = p.c.SetDeadline(past)
	default:
		// The instance stopped taking the body. It may have answered: leave a
		// moment to read that.
		_ = p.c.SetReadDeadline(time.Now().Add(time.Second))
	}
	if p.ctx.Err() != nil {
		_ = p.c.SetDeadline(past)
	}
}

func (p *pump) send() (fromClient bool, err error) {
	bp := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(bp)
	// Room for a chunk's size line in front and its CRLF behind.
	const front, back = 10, 2
	buf := *bp
	left := p.r.length
	for {
		n, rerr := p.r.body.Read(buf[front : len(buf)-back])
		if n > 0 {
			piece := buf[front : front+n]
			if p.r.length < 0 {
				piece = frameChunk(buf, front, n)
			} else if left -= int64(n); left < 0 {
				return true, errBodyTooBig
			}
			if err := p.writeBy(); err != nil {
				return false, err
			}
			if _, err := p.c.Write(piece); err != nil {
				return false, err
			}
		}
		switch {
		case errors.Is(rerr, io.EOF):
			if p.r.length >= 0 {
				if left > 0 {
					return true, errBodyShort
				}
				return false, nil
			}
			_, err := p.c.Write(appendTrailers([]byte("0\r\n"), p.r.trailer))
			return false, err
		case rerr != nil:
			return true, rerr
		}
	}
}

// writeBy sets the deadline for one write, unless the exchange is over.
func (p *pump) writeBy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.ctx.Err() != nil {
		return errClientGone
	}
	return p.c.SetWriteDeadline(time.Now().Add(p.r.pause))
}

// frameChunk puts a size line before and CRLF behind the n bytes at front.
func frameChunk(buf []byte, front, n int) []byte {
	var hex [8]byte
	size := strconv.AppendInt(hex[:0], int64(n), 16)
	at := front - 2 - len(size)
	copy(buf[at:], size)
	buf[front-2], buf[front-1] = '\r', '\n'
	buf[front+n], buf[front+n+1] = '\r', '\n'
	return buf[at : front+n+2]
}

func appendTrailers(b []byte, h http.Header) []byte {
	for name, values := range h {
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// clientError returns the error for which the client is to blame, if any.
func (p *pump) clientError() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client {
		return p.err
	}
	return nil
}

// finish waits until the body has been sent, or gives it up if the answer was
// complete before, and reports whether all of it went out.
func (p *pump) finish() bool {
	if p == nil {
		return true
	}
	if b, ok := p.r.body.(interface{ whole() bool }); ok && b.whole() {
		<-p.done // its last bytes are on their way
	}
	p.abort()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whole
}

// abort stops sending and waits for the goroutine.
func (p *pump) abort() {
	if p == nil {
		return
	}
	// A body that fails ends the request's context before it is read here: then
	// what is wrong with it is about to be known.
	if p.ctx.Err() != nil {
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
	}
	select {
	case <-p.done:
		return
	default:
	}
	p.mu.Lock()
	p.stopped = true
	_ = p.c.SetWriteDeadline(past)
	p.mu.Unlock()
	if b, ok := p.r.body.(interface{ abandon() }); ok {
		b.abandon() // makes a blocked read of the client's body return
	}
	<-p.done
}
