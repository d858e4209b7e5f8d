package http2

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
	nethpack "golang.org/x/net/http2/hpack"

	"portico/proxy/http2/hpack"
	"portico/proxy/wire"
)

// conversation is some of what a client may say, to begin fuzzing with.
func conversation() []byte {
	w := newScript()
	w.headers(1, true, browser).headers(3, false, with(browser, [2]string{":method", "POST"})).frame(frameData, flagPadded, 3, 2, 'x', 0, 0)
	w.frame(frameWindow, 0, 0, 0, 1, 0, 0).frame(frameWindow, 0, 3, 0, 1, 0, 0).frame(framePing, 0, 0, make([]byte, 8)...)
	w.headers(3, true, [][2]string{{"x-sum", "1"}}).frame(framePriorityUpdate, 0, 0, 0, 0, 0, 3, 'u', '=', '1')
	b := w.fields(with(browser, [2]string{"x-long", "0123456789"}))
	w.frame(frameHeaders, flagEnd, 5, b[:20]...).frame(frameContinuation, flagEndHeaders, 5, b[20:]...)
	w.frame(frameSettings, 0, 0, 0, 4, 0, 0, 0, 9, 0, 1, 0, 0, 0, 64).headers(7, true, browser).frame(frameReset, 0, 7, 0, 0, 0, 8)
	w.frame(0xbe, 1, 2, 3).frame(frameGoAway, 0, 0, make([]byte, 8)...)
	return w.take()
}

// FuzzFrames: bytes that x/net's framer calls an error of the connection end ours; what it calls an error of a stream ends the stream
// here or the connection.
func FuzzFrames(f *testing.F) {
	f.Add(conversation())
	for _, bad := range []string{"\x00\x00\x01\x03\x00\x00\x00\x00\x01\x00", "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x09\x04\x00\x00\x00\x01"} {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		fr := http2.NewFramer(io.Discard, bytes.NewReader(data))
		fr.ReadMetaHeaders = nethpack.NewDecoder(hpack.TableMost, nil)
		fr.MaxHeaderListSize = 1 << 20
		fr.SetMaxReadFrameSize(frameMost)
		s := newServer(t, func(a *asked) reply { return plain(200, "ok") })
		out := s.feed(append(newScript().hello().take(), data...))
		said := said(t, out)
		over := s.c.Over()
		for !over {
			_, err := fr.ReadFrame()
			var conn http2.ConnectionError
			var stream http2.StreamError
			switch {
			case errors.As(err, &stream):
				// Most of these end only the stream, if it is there to be ended; the framer does not know.
				if said == "" && stream.Cause != nil && !s.c.left {
					if _, byUs := s.c.was(stream.StreamID); !byUs {
						t.Fatalf("x/net says %v, ours nothing", err)
					}
				}
				continue
			case errors.As(err, &conn), errors.Is(err, http2.ErrFrameTooLarge):
				t.Fatalf("x/net says %v, ours %q", err, said)
			}
			if err != nil {
				break
			}
		}
		s.c.Read(0, wire.EOF)
		s.act()
		s.ends()
	})
}

// FuzzConn: whatever a client says and in which pieces, whoever takes the output and when, nothing panics, what we say is HTTP/2 that
// x/net reads, memory is bounded and comes back.
func FuzzConn(f *testing.F) {
	f.Add(conversation(), uint64(1))
	f.Add(append(conversation(), conversation()...), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) > 64<<10 {
			return
		}
		rnd := rand.New(rand.NewPCG(seed, 0))
		s := newServer(t, func(a *asked) reply {
			switch rnd.IntN(4) {
			case 0:
				return reply{status: 200, echo: true}
			case 1:
				return reply{status: 200, body: make([]byte, rnd.IntN(1<<17)), trailers: [][2]string{{"x-sum", "1"}}}
			}
			return plain(200+rnd.IntN(400), "ok")
		})
		var out bytes.Buffer
		b := append(newScript().hello().take(), data...)
		var reading, writing []byte // what the driver has in hand
		for step := 0; step < 3000 && !s.c.Over() && (len(b) > 0 || s.c.pending() > 0); step++ {
			switch rnd.IntN(6) {
			case 0:
				reading = s.c.Space()
			case 1:
				if reading != nil {
					n := copy(reading[:min(len(reading), 1+rnd.IntN(3000))], b)
					b = b[n:]
					s.c.Read(n, wire.More)
					reading = nil
				}
			case 2:
				writing = s.c.Pending()
			case 3:
				if n := len(writing); n > 0 {
					n = 1 + rnd.IntN(n)
					out.Write(writing[:n]) // what it was, however much came behind it
					s.c.Wrote(n, wire.Result(rnd.IntN(2)))
					writing = nil
				}
			case 4:
				s.act()
			case 5:
				s.c.Now(s.c.now + int64(rnd.IntN(1e6)))
				if rnd.IntN(100) == 0 {
					s.c.Drain()
				}
			}
		}
		s.act()
		if writing != nil {
			s.c.Wrote(0, wire.More)
		}
		out.Write(s.c.Pending())
		s.c.Wrote(s.c.pending(), wire.More)
		if s.mem.most > 1<<20 {
			t.Errorf("%d bytes were lent", s.mem.most)
		}
		fr := http2.NewFramer(io.Discard, &out)
		fr.ReadMetaHeaders = nethpack.NewDecoder(hpack.TableMost, nil)
		for {
			if _, err := fr.ReadFrame(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("x/net says %v to what we said", err)
			}
		}
		s.c.Read(0, wire.EOF)
		s.act()
		s.ends()
	})
}

// TestPendingStands: what the driver writes does not move or change, whatever is added meanwhile, and whoever reads meanwhile has his
// space.
func TestPendingStands(t *testing.T) {
	s := newServer(t, func(a *asked) reply { return reply{status: 200, body: make([]byte, 12<<10)} })
	w := newScript().hello()
	s.act()
	s.c.Read(copy(s.c.Space(), w.headers(1, true, browser).take()), wire.More)
	s.act()
	p := s.c.Pending()
	was := bytes.Clone(p)
	for i := range uint32(4) {
		s.c.Read(copy(s.c.Space(), w.headers(3+2*i, true, browser).take()), wire.More)
		s.act()
		s.mem.get(64 << 10)[0]++ // somebody else works with what was given back
		if b := s.mem.Get(8 << 10); len(b) > 0 {
			clear(b)
			s.mem.Put(b)
		}
	}
	if !bytes.Equal(p, was) {
		t.Error("pending bytes have changed under the driver's hands")
	}
	into := s.c.Space()
	s.c.Wrote(len(p), wire.More)
	s.act()
	if n := copy(into, w.frame(framePing, 0, 0, make([]byte, 8)...).take()); n > 0 {
		s.c.Read(n, wire.More)
	}
	s.feed(nil)
	if s.c.Over() || s.c.Streams() != 0 {
		t.Errorf("over %v, %d streams are left", s.c.Over(), s.c.Streams())
	}
	s.ends()
}
