package isolation

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// runTwo makes a client's exchanges over one HTTP/2 connection, some at a time.
func (c *client) runTwo(w *World, f Front) {
	var mu sync.Mutex
	var raw *net.TCPConn
	cfg := w.client.Clone()
	cfg.ServerName = "kind.test"
	tr := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			if c.small {
				d.Control = small
			}
			conn, err := d.DialContext(ctx, "tcp", f.Secure)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			raw = conn.(*net.TCPConn)
			mu.Unlock()
			own := cfg.Clone()
			own.NextProtos = []string{"h2"}
			t := tls.Client(conn, own)
			return t, t.HandshakeContext(ctx)
		},
		ForceAttemptHTTP2: true, DisableCompression: true, ExpectContinueTimeout: longPause, MaxConnsPerHost: 1,
		HTTP2: &http.HTTP2Config{},
	}
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP2(true)
	defer tr.CloseIdleConnections()
	var wg sync.WaitGroup
	var unclean bool
	for _, x := range c.exchanges {
		unclean = unclean || x.sends.how == reset && x.sends.cut >= 0
	}
	for _, x := range c.exchanges {
		s := &stream{w: w, c: c, x: x, tr: tr, began: time.Now(), unclean: unclean || !x.clean(), breakAll: func() {
			mu.Lock()
			defer mu.Unlock()
			if raw != nil {
				_ = raw.SetLinger(0)
				_ = raw.Close()
			}
		}}
		wg.Go(s.run)
		if x.pieceSeed%2 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
}

// stream is one exchange over HTTP/2.
type stream struct {
	w        *World
	c        *client
	x        *exchange
	tr       *http.Transport
	began    time.Time
	unclean  bool
	breakAll func() // resets the connection under all streams
	cancel   context.CancelFunc
	hang     *time.Timer // begins anew with every byte
}

func (s *stream) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.cancel = cancel
	var hangs atomic.Bool
	s.hang = time.AfterFunc(patience, func() { hangs.Store(true); cancel() })
	defer s.hang.Stop()
	own, err := s.exchange(ctx)
	if err != nil && hangs.Load() {
		err = errHang
	}
	s.w.outcome(s.c, s.x, own, err)
	var f *foreign
	switch {
	case errors.As(err, &f) && s.w.unknowable(f):
	case errors.As(err, &f):
		s.w.fault(s.x, "%v", err)
	case errors.Is(err, errHang):
		s.w.fault(s.x, "no byte for %v", patience)
	default:
		s.w.fair(s.x, s.unclean, s.began, own, err, func() string { return "HTTP/2" })
	}
}

func (s *stream) exchange(ctx context.Context) (own bool, err error) {
	x := s.x
	var interim error
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		interim = x.interimFits(headOf(http.Header(h), code), code)
		return interim
	}})
	var in io.Reader
	if x.framing != none {
		in = s.upload()
	}
	r, err := http.NewRequestWithContext(ctx, x.method, "https://"+x.site.Host+"/"+x.request.String(), in)
	if err != nil {
		return false, err
	}
	r.ContentLength = 0
	switch {
	case x.framing == byChunks:
		r.ContentLength = -1
	case x.framing == byLength:
		r.ContentLength = x.size
		if x.size == 0 {
			r.Body = http.NoBody
		}
	}
	r.Header.Set("X-Mark", x.request.String())
	if x.fill > 0 {
		r.Header.Set("X-Fill", x.request.text(x.fill))
	}
	if x.expect && x.size > 0 {
		r.Header.Set("Expect", "100-continue")
	}
	resp, err := s.tr.RoundTrip(r)
	if interim != nil {
		return false, interim
	}
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return s.take(resp)
}

// take checks an answer.
func (s *stream) take(resp *http.Response) (own bool, err error) {
	x, h := s.x, headOf(resp.Header, resp.StatusCode)
	if h.fields["x-mark"] == "" {
		if resp.StatusCode < 400 || resp.ContentLength > 8<<10 || resp.ContentLength < 0 {
			return true, foreignf("neither an origin's answer nor a page of the proxy's: %v", resp.Header)
		}
		n := int(resp.ContentLength)
		if x.method == "HEAD" {
			n = 0
		}
		return true, ownPage(resp.Body, n)
	}
	if err := h.fits(x, resp.StatusCode); err != nil {
		return false, err
	}
	in, buf := &body{owner: x.answer, most: x.asize, kind: byClose}, make([]byte, 32<<10)
	for {
		b := buf
		if x.takes.leave >= 0 {
			if in.off >= x.takes.leave {
				s.leave()
				return false, errLeft
			}
			b = b[:min(int64(len(b)), x.takes.leave-in.off)]
		}
		if x.takes.slow >= 0 && in.off >= x.takes.slow {
			x.takes.slow = -1
			time.Sleep(x.takes.rest)
		}
		n, err := resp.Body.Read(b)
		s.hang.Reset(patience)
		if ferr := in.check(b[:n]); ferr != nil {
			return false, ferr
		}
		if errors.Is(err, io.EOF) || x.status == 304 && errors.Is(err, io.ErrUnexpectedEOF) { // the library misses a body here
			return false, x.whole(in)
		}
		if err != nil {
			return false, err
		}
	}
}

func (s *stream) leave() {
	if s.x.takes.how == reset {
		s.cancel()
	}
}

// headOf makes a head of fields that a library has read.
func headOf(fields http.Header, status int) *head {
	h := &head{fields: map[string]string{}, raw: fmt.Sprintf("%d %v", status, fields)}
	for name, values := range fields {
		h.fields[lower(name)] = values[len(values)-1]
	}
	return h
}

func lower(s string) string { return string(bytes.ToLower([]byte(s))) }

var errTorn = errors.New("torn as drawn")

// upload is a request's body at its pace, with what was drawn for its end.
func (s *stream) upload() io.Reader {
	data := appendBody(nil, s.x.request, byLength, s.x.size, false, nil)
	return &upload{s: s, data: data, pace: s.x.sends.pace}
}

type upload struct {
	s    *stream
	data []byte
	at   int64
	pace pace
}

func (u *upload) Read(b []byte) (int, error) {
	sends := &u.s.x.sends
	u.s.hang.Reset(patience)
	if sends.cut >= 0 && u.at >= sends.cut {
		switch sends.how {
		case reset:
			u.s.breakAll()
		case silent:
			time.Sleep(2 * time.Second)
		case goOn, fin, half:
		}
		return 0, errTorn
	}
	if u.pace.pauseAt >= 0 && u.at >= u.pace.pauseAt {
		u.pace.pauseAt = -1
		time.Sleep(u.pace.pause)
	}
	n := min(len(b), len(u.data))
	if u.pace.piece > 0 {
		n = min(n, u.pace.piece)
	}
	if sends.cut >= 0 {
		n = min(n, int(sends.cut-u.at))
	}
	if n == 0 {
		return 0, io.EOF
	}
	copy(b, u.data[:n])
	u.data, u.at = u.data[n:], u.at+int64(n)
	return n, nil
}
