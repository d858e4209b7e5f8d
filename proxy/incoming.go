package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"portico/internal/units"
	"portico/proxy/http1"
)

// incoming is an instance's answer. Read returns its body and io.EOF only when
// it was complete.
type incoming struct {
	conn    *originConn
	status  int
	header  http.Header
	trailer http.Header // set at the end of a chunked body
	length  int64       // -1: unknown

	kind   bodyKind
	left   int64
	chunks http1.Chunked
	keep   bool // the connection can be used again after the body
	ended  bool
	pause  time.Duration // longest pause within the body

	ctx  context.Context // of the client's request
	pump *pump
	stop func() bool // ends the watch over the client's context
}

type bodyKind uint8

const (
	bodyNone bodyKind = iota
	bodyLength
	bodyChunked
	bodyClose
)

// exchangeError says how far an exchange came before it failed.
type exchangeError struct {
	err      error
	sent     bool // bytes of the request may have reached the instance
	answered bool // a byte of an answer has come
	stale    bool // the connection had been idle: closed under us, says nothing about the instance
}

func (e *exchangeError) Error() string { return e.err.Error() }
func (e *exchangeError) Unwrap() error { return e.err }

// interimFunc is called for each 1xx answer but 100 and 101.
type interimFunc func(status int, h http.Header)

// exchange sends r on c and reads the answer's head. The connection belongs to
// the answer, or is closed on an error.
func (c *originConn) exchange(ctx context.Context, r *outgoing, interim interimFunc) (*incoming, error) {
	x := &exchangeError{stale: c.used}
	a := &incoming{conn: c, ctx: ctx, pause: r.pause}
	a.stop = context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	err := a.send(r, x)
	if err == nil {
		err = a.readHead(r, interim, x)
	}
	if err == nil {
		return a, nil
	}
	gone := ctx.Err() != nil // before the pump is stopped, which ends the request's context as well
	a.pump.abort()
	a.stop()
	c.discard()
	switch cerr := a.pump.clientError(); {
	case cerr != nil:
		err = cerr
	case gone:
		err = errClientGone
	case isTimeout(err):
		err = fmt.Errorf("%w: %w", errSlowOrigin, err)
	}
	x.err = err
	return nil, x
}

// past is a deadline that makes whatever waits return.
var past = time.Unix(1, 0)

// readBy sets the deadline for reading, unless the client has gone meanwhile.
func (a *incoming) readBy(d time.Duration) error {
	_ = a.conn.SetReadDeadline(time.Now().Add(d))
	if a.ctx.Err() != nil {
		return errClientGone
	}
	return nil
}

// send writes the head, with the body that is held, and starts to send a
// streamed one.
func (a *incoming) send(r *outgoing, x *exchangeError) error {
	_ = a.conn.SetWriteDeadline(time.Now().Add(r.headBudget))
	if a.ctx.Err() != nil {
		return errClientGone
	}
	n, err := a.conn.Write(appendRequest(make([]byte, 0, 1024+len(r.held)), r))
	if x.sent = n > 0; err != nil {
		return err
	}
	switch {
	case r.body == nil:
		return a.readBy(r.headBudget)
	case r.expect:
		return a.readBy(continueWait)
	}
	a.startPump(r)
	return nil
}

// startPump sends the body. The time to answer counts from its end.
func (a *incoming) startPump(r *outgoing) {
	_ = a.conn.SetReadDeadline(time.Time{})
	a.pump = newPump(a.ctx, a.conn, r)
}

// continueWait is how long an instance may keep a client waiting that sent
// Expect: 100-continue; after it the body is sent all the same (RFC 9110 section
// 10.1.1 asks for such an end).
const continueWait = time.Second

// readHead reads heads until the final one.
func (a *incoming) readHead(r *outgoing, interim interimFunc, x *exchangeError) error {
	c := a.conn
	var resp http1.Response
	for count := 0; ; {
		waiting := r.expect && r.body != nil && a.pump == nil
		end, err := c.head(&x.answered)
		if err != nil {
			if waiting && !x.answered && isTimeout(err) && a.ctx.Err() == nil {
				a.startPump(r)
				continue
			}
			return err
		}
		if f := http1.ParseResponse(&resp, c.in[:end], c.o.limits); f != http1.NoFault {
			return fmt.Errorf("%w: %s", errBadResponse, f.Error())
		}
		if resp.Status >= 200 || resp.Status == http.StatusSwitchingProtocols {
			err := a.accept(&resp, r)
			c.consume(end)
			return err
		}
		if count++; count > c.o.limits.Interim {
			return fmt.Errorf("%w: too many interim answers", errBadResponse)
		}
		if resp.Status != http.StatusContinue {
			h := headerOf(&resp)
			removeHopByHop(h)
			interim(resp.Status, h)
		} else if waiting {
			a.startPump(r)
		}
		c.consume(end)
	}
}

// accept takes the final head.
func (a *incoming) accept(resp *http1.Response, r *outgoing) error {
	a.status, a.header = resp.Status, headerOf(resp)
	a.keep = resp.KeepAlive
	a.length = -1
	switch {
	case resp.Status == http.StatusSwitchingProtocols:
		if r.upgrade == "" {
			return fmt.Errorf("%w: switched protocols unasked", errBadResponse)
		}
		a.keep = false
	case resp.Status == http.StatusNoContent:
	case r.method == http.MethodHead, resp.Status == http.StatusNotModified:
		a.length = resp.Length
	case resp.Chunked:
		a.kind = bodyChunked
	case resp.Length > 0:
		a.kind, a.left, a.length = bodyLength, resp.Length, resp.Length
	case resp.Length == 0:
		a.length = 0
	default:
		a.kind, a.keep = bodyClose, false
	}
	return nil
}

// headerOf copies the fields of a head into the form that net/http has.
func headerOf(resp *http1.Response) http.Header {
	h := make(http.Header, len(resp.Fields))
	values := make([]string, len(resp.Fields))
	for i := range resp.Fields {
		f := &resp.Fields[i]
		name := http.CanonicalHeaderKey(string(resp.Name(f)))
		values[i] = string(resp.Value(f))
		if old, ok := h[name]; ok {
			h[name] = append(old, values[i])
		} else {
			h[name] = values[i : i+1 : i+1]
		}
	}
	return h
}

// head reads until a whole head is in c.in and returns its length.
func (c *originConn) head(answered *bool) (int, error) {
	scanned := 0
	for {
		if len(c.in) > 0 {
			*answered = true
		}
		end, next, f := http1.ScanHead(c.in, scanned)
		if f != http1.NoFault {
			return 0, fmt.Errorf("%w: %s", errBadResponse, f.Error())
		}
		if end > c.o.limits.ResponseHead || end == 0 && len(c.in) > c.o.limits.ResponseHead {
			return 0, fmt.Errorf("%w: its head is larger than %s", errBadResponse, units.Size(c.o.limits.ResponseHead))
		}
		if end > 0 {
			return end, nil
		}
		scanned = next
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
}

func (c *originConn) fill() error {
	if cap(c.in)-len(c.in) < 512 {
		c.in = append(make([]byte, 0, max(4<<10, 2*len(c.in))), c.in...)
	}
	n, err := c.Conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (c *originConn) consume(n int) {
	if n == len(c.in) {
		c.in = nil
		return
	}
	c.in = c.in[n:]
}

// buffered reports whether more of the body can be had without waiting.
func (a *incoming) buffered() bool { return len(a.conn.in) > 0 && !a.ended }

// Read implements io.Reader. An answer that ends early, or whose framing is
// wrong, is an error and never io.EOF.
func (a *incoming) Read(p []byte) (int, error) {
	if a.ended || a.kind == bodyNone {
		a.ended = true
		return 0, io.EOF
	}
	c := a.conn
	if err := a.readBy(a.pause); err != nil {
		return 0, err
	}
	switch a.kind {
	case bodyLength:
		n, err := c.some(p[:min(int64(len(p)), a.left)])
		if a.left -= int64(n); a.left == 0 {
			a.ended = true
			return n, nil
		}
		return n, noEOF(err)
	case bodyClose:
		n, err := c.some(p)
		if errors.Is(err, io.EOF) {
			a.ended = true
		}
		return n, err
	case bodyChunked:
		return a.readChunked(p)
	}
	return 0, io.EOF
}

func (a *incoming) readChunked(p []byte) (int, error) {
	c := a.conn
	n := 0
	for n < len(p) {
		if len(c.in) == 0 {
			if n > 0 {
				return n, nil
			}
			if err := c.fill(); err != nil {
				return n, noEOF(err)
			}
		}
		in := c.in
		if room := len(p) - n; len(in) > room+512 {
			in = in[:room+512] // enough for framing; data beyond the room must stay
		}
		before := a.chunks
		skip, data, trailer, f := a.chunks.Next(in, c.o.limits)
		if f != http1.NoFault {
			return n, fmt.Errorf("%w: %s", errBadResponse, f.Error())
		}
		if room := len(p) - n; data > room {
			a.chunks = before
			_, data, _, _ = a.chunks.Next(in[:skip+room], c.o.limits)
		}
		if trailer != nil {
			a.trailer = trailerOf(trailer, c.o.limits)
		}
		n += copy(p[n:], in[skip:skip+data])
		c.consume(skip + data)
		if a.chunks.Done() {
			a.ended = true
			return n, io.EOF
		}
		if skip+data == 0 {
			if n > 0 {
				return n, nil
			}
			if err := c.fill(); err != nil {
				return n, noEOF(err)
			}
		}
	}
	return n, nil
}

// some returns what is buffered, else what comes.
func (c *originConn) some(p []byte) (int, error) {
	if len(c.in) > 0 {
		n := copy(p, c.in)
		c.consume(n)
		return n, nil
	}
	return c.Conn.Read(p)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// trailerOf returns the trailer fields that may travel.
func trailerOf(section []byte, limits *http1.Limits) http.Header {
	kept, f := http1.AppendTrailers(nil, &http1.Head{}, section, limits)
	if f != http1.NoFault || len(kept) <= 2 {
		return nil
	}
	h := http.Header{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(kept), "\r\n\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if name = http.CanonicalHeaderKey(name); trailerAllowed(name) {
			h.Add(name, strings.TrimSpace(value))
		}
	}
	return h
}

// finish gives the connection back if everything about the exchange was sound,
// and closes it otherwise. It waits for the request body's sender.
func (a *incoming) finish() {
	whole := a.ended || a.kind == bodyNone && a.status != http.StatusSwitchingProtocols
	sent := a.pump.finish()
	live := a.stop()
	if whole && sent && live && a.keep && len(a.conn.in) == 0 {
		a.conn.o.give(a.conn)
		return
	}
	a.conn.discard()
}
