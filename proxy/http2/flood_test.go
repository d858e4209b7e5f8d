package http2

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestFloods: frames that move nothing are taken until their budget is used up; then the connection ends with ENHANCE_YOUR_CALM. Until
// then they cost bounded memory, whether the client takes the answers or not.
func TestFloods(t *testing.T) {
	post := with(browser, [2]string{":method", "POST"})
	get := browser
	for name, tt := range map[string]struct {
		first func(w *script)
		again func(w *script, i uint32)
		most  int // frames before the end
	}{
		"ping":            {nil, func(w *script, _ uint32) { w.frame(framePing, 0, 0, make([]byte, 8)...) }, 1100},
		"ping ack":        {nil, func(w *script, _ uint32) { w.frame(framePing, flagAck, 0, make([]byte, 8)...) }, 1100},
		"settings":        {nil, func(w *script, _ uint32) { w.frame(frameSettings, 0, 0, 0, 4, 0, 0, 0, 1) }, 1100},
		"settings ack":    {nil, func(w *script, _ uint32) { w.frame(frameSettings, flagAck, 0) }, 1100},
		"long settings":   {nil, func(w *script, _ uint32) { w.frame(frameSettings, 0, 0, make([]byte, 16380)...) }, 10},
		"priority":        {nil, func(w *script, _ uint32) { w.frame(framePriority, 0, 3, 0, 0, 0, 1, 1) }, 1100},
		"priority update": {nil, func(w *script, _ uint32) { w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, 1, 'i') }, 1100},
		"goaway":          {func(w *script) { w.headers(1, false, post) }, func(w *script, _ uint32) { w.frame(frameGoAway, 0, 0, make([]byte, 8)...) }, 1100},
		"window":          {nil, func(w *script, _ uint32) { w.frame(frameWindow, 0, 0, 0, 0, 0, 1) }, 1100},
		"stream window":   {func(w *script) { w.headers(1, false, post) }, func(w *script, _ uint32) { w.frame(frameWindow, 0, 1, 0, 0, 0, 1) }, 1100},
		"closed window":   {func(w *script) { w.headers(1, true, get) }, func(w *script, _ uint32) { w.frame(frameWindow, 0, 1, 0, 0, 0, 1) }, 1100},
		"unknown":         {nil, func(w *script, _ uint32) { w.frame(0xbe, 0, 0, 1) }, 1100},
		"continuation":    {func(w *script) { w.frame(frameHeaders, flagEnd, 1) }, func(w *script, _ uint32) { w.frame(frameContinuation, 0, 1) }, 1100},
		"long block":      {func(w *script) { w.frame(frameHeaders, flagEnd, 1) }, func(w *script, _ uint32) { w.frame(frameContinuation, 0, 1, make([]byte, frameMost)...) }, 6},
		"empty data":      {func(w *script) { w.headers(1, false, post) }, func(w *script, _ uint32) { w.frame(frameData, 0, 1) }, 1100},
		"padding":         {func(w *script) { w.headers(1, false, post) }, func(w *script, _ uint32) { w.frame(frameData, flagPadded, 1, 0) }, 1100},
		"closed reset":    {func(w *script) { w.headers(1, true, get) }, func(w *script, _ uint32) { w.frame(frameReset, 0, 1, 0, 0, 0, 8) }, 1100},
		"closed data":     {func(w *script) { w.headers(1, true, get) }, func(w *script, _ uint32) { w.frame(frameData, 0, 1, 'x') }, 1100},
		"rapid reset":     {nil, func(w *script, i uint32) { w.headers(2*i+1, false, post).frame(frameReset, 0, 2*i+1, 0, 0, 0, 8) }, 2200},
		"made you reset":  {nil, func(w *script, i uint32) { w.headers(2*i+1, false, post).frame(frameWindow, 0, 2*i+1, 0, 0, 0, 0) }, 2200},
		"made you overflow": {nil, func(w *script, i uint32) {
			w.headers(2*i+1, false, post).frame(frameWindow, 0, 2*i+1, 0x7f, 0xff, 0xff, 0xff)
		}, 2200},
		"made you end": {nil, func(w *script, i uint32) {
			w.headers(2*i+1, true, get).frame(frameData, 0, 2*i+1, 'x')
		}, 2200},
		"malformed":     {nil, func(w *script, i uint32) { w.headers(2*i+1, true, get[1:]) }, 1100},
		"too many":      {nil, func(w *script, i uint32) { w.headers(2*i+1, false, post) }, 1400},
		"empty streams": {nil, func(w *script, i uint32) { w.headers(2*i+1, false, post).frame(frameData, 0, 2*i+1) }, 2600},
	} {
		for _, takes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s takes=%v", name, takes), func(t *testing.T) {
				s := newServer(t, func(a *asked) reply {
					return plain(200, "ok")
				})
				s.hold = name == "made you end"
				w := newScript().hello()
				if tt.first != nil {
					tt.first(w)
				}
				s.feed(w.take())
				frames, blocked := 0, false
				for i := uint32(1); !s.c.Over() && !blocked && frames < 20_000; i++ {
					tt.again(w, i)
					b := w.take()
					for rest := b; len(rest) > 0; frames++ {
						rest = rest[frameHead+parseFrame(rest).length:]
					}
					if takes {
						s.feed(b)
						continue
					}
					blocked = !s.stuff(b)
				}
				if !blocked && (!s.c.Over() || !s.c.Denied()) {
					t.Errorf("over %v, denied %v after %d frames", s.c.Over(), s.c.Denied(), frames)
				}
				if frames > tt.most+200 {
					t.Errorf("the end came after %d frames only", frames)
				}
				if got := said(t, s.c.Pending()); !blocked && !takes && !strings.HasSuffix(got, "GOAWAY 11") {
					t.Errorf("the connection ends with %.100s", got)
				}
				if s.mem.most > 256<<10 {
					t.Errorf("%d bytes were lent", s.mem.most)
				}
				s.c.Read(0, 2)
				s.act()
				s.ends()
			})
		}
	}
}

// stuff lets the connection read b while nobody takes its output. False: it reads nothing more.
func (s *server) stuff(b []byte) bool {
	for len(b) > 0 && !s.c.Over() {
		into := s.c.Space()
		if into == nil {
			return false
		}
		n := copy(into, b)
		b = b[n:]
		s.c.Read(n, 0)
		s.act()
	}
	return true
}

// TestNavigation: a browser that leaves a page gives up a hundred requests at once, time and again.
func TestNavigation(t *testing.T) {
	s := newServer(t, func(a *asked) reply { return reply{status: 200, echo: true} })
	w := newScript().hello()
	id := uint32(1)
	for page := range 40 {
		s.c.Now(int64(time.Duration(page) * 12 * time.Second)) // somebody looks at it for a while
		first := id
		for range 100 {
			w.headers(id, false, with(browser, [2]string{":method", "POST"}))
			id += 2
		}
		for ; first < id; first += 2 {
			w.frame(frameReset, 0, first, 0, 0, 0, 8)
		}
		if got := said(t, s.feed(w.take())); got != "" || s.c.Over() {
			t.Fatalf("page %d: %s, denied %v", page, got, s.c.Denied())
		}
	}
	if s.resets != 4000 {
		t.Errorf("%d resets were told", s.resets)
	}
	s.c.Read(0, 2)
	s.act()
	s.ends()
}

// TestRefusedUploads: what was on its way of uploads that are answered before their end costs nothing, and their room is given back.
func TestRefusedUploads(t *testing.T) {
	s := newServer(t, func(a *asked) reply { return plain(413, "too large") })
	w := newScript().hello()
	for i := range uint32(100) {
		w.headers(2*i+1, false, with(browser, [2]string{":method", "POST"}, [2]string{"x-early", "1"}))
		for range 60 {
			w.frame(frameData, 0, 2*i+1, make([]byte, 1<<10)...)
		}
		s.feed(w.take())
	}
	if s.c.Over() || s.c.frames.left != frameBudget {
		t.Errorf("over %v, %d of the budget are left", s.c.Over(), s.c.frames.left)
	}
	s.ends()
}

// TestServerResetsCostNothing: what the exchange breaks off is not held against the client.
func TestServerResetsCostNothing(t *testing.T) {
	s := &small{}
	s.c.Begin(defaults(), &s.mem, int64(time.Second))
	w := newScript().hello()
	for i := range uint32(5000) {
		s.c.Read(copy(s.c.Space(), w.headers(2*i+1, true, browser).take()), 0)
		for e := s.c.Next(); e.Kind != EventNone; e = s.c.Next() {
			e.Stream.Head(200)
			e.Stream.EndHead(false)
			e.Stream.Reset(0)
		}
		s.c.Wrote(len(s.c.Pending()), 0)
	}
	if s.c.Over() {
		t.Error("the connection has ended")
	}
	s.c.Release()
}
