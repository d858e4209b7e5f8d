package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Load is HTTP/2 made as cheap as it can be: requests are encoded once, only their stream ids differ; all that became free by one read
// goes out with one write; of an answer only the status, the lengths and the end are looked at.
type h2Load struct {
	conn    *tls.Conn
	frame   []byte // HEADERS of a request, stream id to be filled in
	wants   int    // bytes of an answer's body
	next    uint32
	out     []byte
	buf     []byte
	have    int
	unread  int // window that has been used up on the connection
	streams map[uint32]*h2Stream
	free    []*h2Stream
	done    func(began int64)
	single  bool // there is one request
	upload
}

type h2Stream struct {
	began int64
	bytes int
	ok    bool // status 200
	id    uint32
	left  int // of its body
	room  int // that the proxy takes of it
}

var errH2 = errors.New("not the answer that was expected")

// window is what we offer: nothing ever waits for it.
const window = 1<<31 - 1

func newH2Load(addr, host, path string, wants, body int) (*h2Load, error) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &h2Load{next: 1, wants: wants, buf: make([]byte, 64<<10), streams: map[uint32]*h2Stream{}, upload: upload{size: body, room: firstWindow, first: firstWindow}}
	l.conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: host, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, CurvePreferences: []tls.CurveID{tls.X25519}}) // a benchmark's own server
	if err := l.conn.Handshake(); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if p := l.conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		_ = raw.Close()
		return nil, fmt.Errorf("the proxy chose %q, not h2", p)
	}
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	err = errors.Join(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}, http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}),
		f.WriteWindowUpdate(0, window-65535))
	if err == nil {
		_, err = l.conn.Write(b.Bytes())
	}
	l.frame = h2Request(host, path, body)
	return l, err
}

// h2Request encodes a request like the one of the other cases, without the dynamic table, so that it can be sent again and again.
func h2Request(host, path string, body int) []byte {
	var block, b bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	method := "GET"
	if body > 0 {
		method = "POST"
	}
	fields := [][2]string{
		{":method", method}, {":scheme", "https"}, {":authority", host}, {":path", path}, {"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"},
		{"accept", "text/html,*/*;q=0.8"}, {"accept-language", "en"}, {"accept-encoding", "gzip, deflate, br"},
	}
	if body > 0 {
		fields = append(fields, [2]string{"content-length", strconv.Itoa(body)})
	}
	for _, f := range fields {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	f := http2.NewFramer(&b, nil)
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: body == 0, EndHeaders: true})
	return b.Bytes()
}

// send adds one request to what goes out.
func (l *h2Load) send(now int64) {
	var s *h2Stream
	if n := len(l.free); n > 0 {
		s, l.free = l.free[n-1], l.free[:n-1]
		*s = h2Stream{}
	} else {
		s = &h2Stream{}
	}
	s.began, s.id = now, l.next
	l.begin(s)
	l.streams[l.next] = s
	at := len(l.out)
	l.out = append(l.out, l.frame...)
	binary.BigEndian.PutUint32(l.out[at+5:], l.next)
	l.next += 2
}

// run keeps n streams busy until stop.
func (l *h2Load) run(n int, stop *atomic.Bool) error {
	for range n {
		l.send(nano())
	}
	for !stop.Load() {
		for l.out = l.fill(l.out); len(l.out) > 0; l.out = l.fill(l.out[:0]) {
			if _, err := l.conn.Write(l.out); err != nil {
				return err
			}
		}
		k, err := l.conn.Read(l.buf[l.have:])
		if err != nil {
			return err
		}
		l.have += k
		if err := l.take(); err != nil {
			return err
		}
	}
	return nil
}

// take handles the whole frames that have come.
func (l *h2Load) take() error {
	b := l.buf[:l.have]
	for len(b) >= 9 {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < 9+size {
			if 9+size > len(l.buf) {
				return io.ErrShortBuffer
			}
			break
		}
		if err := l.frameIn(http2.FrameType(b[3]), http2.Flags(b[4]), binary.BigEndian.Uint32(b[5:])&window, b[9:9+size]); err != nil {
			return err
		}
		b = b[9+size:]
	}
	l.have = copy(l.buf, b)
	return nil
}

func (l *h2Load) frameIn(typ http2.FrameType, flags http2.Flags, id uint32, payload []byte) error {
	switch typ {
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			l.settings(payload, l.streams)
			l.out = append(l.out, 0, 0, 0, byte(http2.FrameSettings), byte(http2.FlagSettingsAck), 0, 0, 0, 0)
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			l.out = append(append(l.out, 0, 0, 8, byte(http2.FramePing), byte(http2.FlagPingAck), 0, 0, 0, 0), payload...)
		}
	case http2.FrameWindowUpdate:
		l.update(l.streams[id], id, int(binary.BigEndian.Uint32(payload)))
	case http2.FrameRSTStream, http2.FrameGoAway:
		return fmt.Errorf("%w: %v %x", errH2, typ, payload)
	case http2.FrameHeaders:
		if s := l.streams[id]; s != nil {
			s.ok = s.ok || is200(payload)
		}
	case http2.FrameData:
		if s := l.streams[id]; s != nil {
			s.bytes += len(payload)
		}
		if l.unread += len(payload); l.unread > window/2 {
			l.out = binary.BigEndian.AppendUint32(append(l.out, 0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0), uint32(l.unread))
			l.unread = 0
		}
	}
	if flags.Has(http2.FlagDataEndStream) && (typ == http2.FrameData || typ == http2.FrameHeaders) {
		return l.ended(id)
	}
	return nil
}

// is200 looks for the indexed field ":status: 200" at the begin of a block, behind updates of the table's size.
func is200(block []byte) bool {
	for len(block) > 0 && block[0]>>5 == 1 {
		block = block[1:]
	}
	return len(block) > 0 && block[0] == 0x88
}

func (l *h2Load) ended(id uint32) error {
	s := l.streams[id]
	if s == nil || !s.ok || s.bytes != l.wants || s.left > 0 {
		return fmt.Errorf("%w on stream %d: %+v", errH2, id, s)
	}
	delete(l.streams, id)
	l.done(s.began)
	l.free = append(l.free, s)
	if !l.single {
		l.send(nano())
	}
	return nil
}
