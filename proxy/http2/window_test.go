package http2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"portico/proxy/wire"
)

// peer is a client that keeps count of every window, ours and its own, and of every byte.
type peer struct {
	t    *testing.T
	rnd  *rand.Rand
	s    *server
	w    *script
	room int // that it gave for the connection and we have not used
	said int // what it may send on the connection
	all  map[uint32]*peerStream
	ids  []uint32
	next uint32

	initial int
	piece   float64 // how large its reads are at most, as a logarithm
	batch   int     // it reads this much before it gives room back
	owed    int
}

type peerStream struct {
	room, said int
	got, sent  []byte
	size       int // of the upload
	unread     int // bytes that came and it has not looked at
	owed       int
	ended      bool // the answer
}

func newPeer(t *testing.T, seed uint64) *peer {
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := &peer{t: t, rnd: rnd, w: newScript(), room: windowUsual, said: windowUsual, all: map[uint32]*peerStream{}, next: 1, initial: rnd.IntN(1 << (1 + rnd.IntN(22)))}
	p.piece, p.batch = rnd.Float64()*12*math.Ln2, 1<<rnd.IntN(13)
	p.s = newServer(t, func(a *asked) reply { return reply{status: 200, echo: true} })
	p.w.WriteString(preface)
	p.w.frame(frameSettings, 0, 0, append([]byte{0, settingWindow}, binary.BigEndian.AppendUint32(nil, uint32(p.initial))...)...)
	p.w.frame(frameSettings, flagAck, 0)
	p.deliver()
	return p
}

// deliver lets the proxy read what the client has said, in pieces, and the client what the proxy has.
func (p *peer) deliver() {
	b := p.w.take()
	for first := true; len(b) > 0 || first; first = false {
		n := min(len(b), 1+p.rnd.IntN(20<<10))
		p.hear(p.s.feed(b[:n]))
		b = b[n:]
	}
	if p.s.c.Over() {
		p.t.Fatalf("the connection has ended, denied %v", p.s.c.Denied())
	}
}

// hear checks what the proxy says.
func (p *peer) hear(b []byte) {
	for len(b) > 0 {
		f := parseFrame(b)
		body := b[frameHead : frameHead+f.length]
		b = b[frameHead+f.length:]
		s := p.all[f.id]
		switch f.kind {
		case frameData:
			if p.room, s.room = p.room-f.length, s.room-f.length; f.length > 0 && (p.room < 0 || s.room < 0) {
				p.t.Fatalf("%d bytes on stream %d are beyond a window: %d and %d", f.length, f.id, p.room, s.room)
			}
			s.got, s.unread = append(s.got, body...), s.unread+f.length
			s.ended = s.ended || f.has(flagEnd)
		case frameWindow:
			n := int(binary.BigEndian.Uint32(body))
			if f.id == 0 {
				p.said += n
			} else {
				s.said += n
			}
			if p.said > receiveAll || s != nil && s.said > receiveOne {
				p.t.Fatalf("the client may send %d bytes", p.said)
			}
		case frameReset, frameGoAway:
			p.t.Fatalf("%v %x", f, body)
		}
	}
}

func (p *peer) open() {
	s := &peerStream{room: p.initial, said: windowUsual, size: p.rnd.IntN(1 << (1 + p.rnd.IntN(20)))}
	p.all[p.next] = s
	p.ids = append(p.ids, p.next)
	fields := with(browser, [2]string{":method", "POST"})
	if p.rnd.IntN(2) == 0 {
		fields = with(fields, [2]string{"content-length", fmt.Sprint(s.size)})
	}
	if p.rnd.IntN(2) == 0 {
		fields = with(fields, [2]string{"priority", fmt.Sprintf("u=%d", p.rnd.IntN(8))})
	}
	p.w.headers(p.next, false, fields)
	p.next += 2
}

// send uploads a piece.
func (p *peer) send() {
	id := p.ids[p.rnd.IntN(len(p.ids))]
	s := p.all[id]
	left := s.size - len(s.sent)
	if left < 0 {
		return
	}
	pad := 0
	if p.rnd.IntN(5) == 0 {
		pad = 1 + p.rnd.IntN(200)
	}
	n := min(left, s.said-pad, p.said-pad, frameMost-pad, p.rnd.IntN(1<<(1+p.rnd.IntN(15))))
	if n < 0 || n == 0 && left > 0 {
		return
	}
	b := make([]byte, n, n+1)
	for i := range b {
		b[i] = byte(len(s.sent)+i) ^ byte((len(s.sent)+i)>>8) ^ byte(id)
	}
	s.sent, s.said, p.said = append(s.sent, b...), s.said-n-pad, p.said-n-pad
	flags := byte(0)
	if n == left {
		flags = flagEnd
		s.size = -1
	}
	if pad > 0 {
		b = append(append([]byte{byte(pad - 1)}, b...), make([]byte, pad-1)...)
		flags |= flagPadded
	}
	p.w.frame(frameData, flags, id, b...)
}

// read takes a piece of an answer, and gives room back now and then.
func (p *peer) read() {
	id := p.ids[p.rnd.IntN(len(p.ids))]
	s := p.all[id]
	n := min(s.unread, int(math.Exp(p.rnd.Float64()*p.piece)))
	s.unread, s.owed, p.owed = s.unread-n, s.owed+n, p.owed+n
	grown := 0
	if p.rnd.IntN(1000) == 0 || s.room <= 0 && s.owed == 0 {
		grown = p.rnd.IntN(1 << 18)
	}
	if n := s.owed + grown; n > 0 && (s.owed >= p.batch || s.unread == 0 || grown > 0) {
		p.w.frame(frameWindow, 0, id, binary.BigEndian.AppendUint32(nil, uint32(n))...)
		s.room, s.owed = s.room+n, 0
	}
	if p.owed > 0 && (p.owed >= p.batch || p.rnd.IntN(50) == 0) {
		p.w.frame(frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(p.owed))...)
		p.room, p.owed = p.room+p.owed, 0
	}
}

// resize changes all windows at once. What the proxy says before it has heard of that counts by the old ones.
func (p *peer) resize() {
	p.deliver()
	n := p.rnd.IntN(1 << (1 + p.rnd.IntN(20)))
	for _, s := range p.all {
		s.room += n - p.initial
	}
	p.initial = n
	p.w.frame(frameSettings, 0, 0, append([]byte{0, settingWindow}, binary.BigEndian.AppendUint32(nil, uint32(n))...)...)
	p.hear(p.s.feed(p.w.take()))
}

// TestWindows: whatever the windows and the pieces, nobody sends more than may be, every byte arrives, and memory is bounded.
func TestWindows(t *testing.T) {
	for round := range 10 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Logf("seed %d", seed)
			p := newPeer(t, seed)
			for range 1 + p.rnd.IntN(10) {
				p.open()
			}
			for step := 0; !p.done(); step++ {
				switch step {
				case 100_000:
					p.piece, p.batch = 12*math.Ln2, 1<<12 // it has been slow for long enough
				case 2_000_000:
					t.Fatal("it does not end")
				}
				switch p.rnd.IntN(10) {
				case 0, 1, 2:
					p.send()
				case 9:
					if p.rnd.IntN(200) == 0 {
						p.resize()
					}
					p.deliver()
				default:
					p.read()
				}
				if step%64 == 0 {
					p.s.c.Now(int64(step) * int64(time.Millisecond))
				}
			}
			for id, s := range p.all {
				if !bytes.Equal(s.got, s.sent) {
					t.Errorf("stream %d: %d bytes of %d", id, len(s.got), len(s.sent))
				}
			}
			if p.s.mem.most > 3<<20 {
				t.Errorf("%d bytes were lent", p.s.mem.most)
			}
			p.s.c.Read(0, wire.EOF)
			p.s.act()
			p.s.ends()
		})
	}
}

func (p *peer) done() bool {
	for _, s := range p.all {
		if !s.ended {
			return false
		}
	}
	return true
}

// TestStoppedUploads: two long uploads that nobody takes any more leave room for what the client sends besides.
func TestStoppedUploads(t *testing.T) {
	s := newServer(t, func(*asked) reply { return reply{status: 200, body: make([]byte, 1)} })
	w := newScript().hello()
	room := map[uint32]int{0: windowUsual}
	for _, id := range []uint32{1, 3} {
		w.headers(id, false, with(browser, [2]string{":method", "POST"}))
		room[id] = windowUsual
	}
	send := func(most int) (sent int) {
		for _, id := range []uint32{1, 3} {
			for sent < most {
				n := min(room[id], room[0], 10_000) // pieces that divide no window evenly
				if n == 0 {
					break
				}
				w.frame(frameData, 0, id, make([]byte, n)...)
				room[id], room[0], sent = room[id]-n, room[0]-n, sent+n
			}
		}
		for out := s.feed(w.take()); len(out) > 0; {
			f := parseFrame(out)
			if f.kind == frameWindow {
				room[f.id] += int(binary.BigEndian.Uint32(out[frameHead:]))
			}
			out = out[frameHead+f.length:]
		}
		return sent
	}
	for sent := 0; sent < 16<<20; {
		n := send(1 << 20)
		if sent += n; n == 0 {
			t.Fatalf("nothing more may be sent after %d bytes", sent)
		}
	}
	s.hold = true
	for send(1<<30) > 0 {
	}
	if room[0] < windowUsual {
		t.Errorf("what has stopped leaves %d bytes to the others, want %d", room[0], windowUsual)
	}
	s.c.Read(0, wire.EOF)
	s.act()
	s.ends()
}

// TestUpdatesAreFree: a client that reads a download in the smallest pieces, and says so each time of the stream and of the connection,
// spends nothing of its budget. What it says beyond that is a flood still.
func TestUpdatesAreFree(t *testing.T) {
	const size = 200_000
	s := newServer(t, func(a *asked) reply { return reply{status: 200, body: make([]byte, size)} })
	w := newScript().hello().headers(1, true, browser)
	got, before := 0, 0
	for out := s.feed(w.take()); got < size; {
		for len(out) > 0 {
			f := parseFrame(out)
			out = out[frameHead+f.length:]
			if f.kind == frameData {
				got += f.length
				for range f.length {
					w.frame(frameWindow, 0, 1, 0, 0, 0, 1).frame(frameWindow, 0, 0, 0, 0, 0, 1)
				}
			}
		}
		if before == 0 {
			before = s.c.frames.left
		}
		if w.Len() == 0 {
			t.Fatalf("%d bytes came, and no more", got)
		}
		out = s.feed(w.take())
		if s.c.Over() {
			t.Fatalf("the client is cut after %d bytes", got)
		}
	}
	if s.c.frames.left < before {
		t.Errorf("%d of the budget are used", before-s.c.frames.left)
	}
	for range 2*size + 1200 {
		w.frame(frameWindow, 0, 0, 0, 0, 0, 1)
	}
	s.feed(w.take())
	if !s.c.Denied() {
		t.Error("a flood is not cut")
	}
	s.ends()
}

// TestTinyWindows: a client that gives room for a byte at a time gets them all, and costs little memory.
func TestTinyWindows(t *testing.T) {
	const size = 3000
	s := newServer(t, func(a *asked) reply { return reply{status: 200, body: make([]byte, size)} })
	w := newScript()
	w.WriteString(preface)
	w.frame(frameSettings, 0, 0, 0, settingWindow, 0, 0, 0, 0).frame(frameSettings, flagAck, 0)
	for i := range uint32(100) {
		w.headers(2*i+1, true, browser)
	}
	got := 0
	for out := s.feed(w.take()); got < 100*size; out = s.feed(w.take()) {
		for len(out) > 0 {
			f := parseFrame(out)
			out = out[frameHead+f.length:]
			if f.kind == frameData {
				got += f.length
				if n := byte(f.length); n > 0 {
					w.frame(frameWindow, 0, 0, 0, 0, 0, n)
				}
			}
		}
		for i := range uint32(100) {
			if s.c.find(2*i+1) != nil {
				w.frame(frameWindow, 0, 2*i+1, 0, 0, 0, 1)
			}
		}
		if s.c.Over() {
			t.Fatalf("the client is cut after %d bytes", got)
		}
	}
	if s.mem.most > 64<<10 {
		t.Errorf("%d bytes were lent", s.mem.most)
	}
	s.c.Read(0, wire.EOF)
	s.act()
	s.ends()
}
