package main

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

const (
	firstWindow = 65535    // RFC 9113, 6.9.2
	uploadFrame = 16 << 10 // what a DATA frame carries
	uploadBatch = 64 << 10 // what is written at a time
)

// upload is the part of a connection that sends bodies, as far as the proxy's windows let it.
type upload struct {
	size  int // of each body; 0: none is sent
	room  int // that the proxy takes on the connection
	first int // and on a new stream
	busy  []*h2Stream
}

// begin prepares the body of a new request.
func (u *upload) begin(s *h2Stream) {
	if s.left, s.room = u.size, u.first; u.size > 0 {
		u.busy = append(u.busy, s)
	}
}

// fill adds DATA, a frame of each stream in turn.
func (u *upload) fill(out []byte) []byte {
	for moved := true; moved && len(out) < uploadBatch; {
		moved = false
		rest := u.busy[:0]
		for _, s := range u.busy {
			n := min(s.left, s.room, u.room, uploadFrame)
			if n > 0 {
				out = appendData(out, s, n)
				u.room -= n
				moved = true
			}
			if s.left > 0 {
				rest = append(rest, s)
			}
		}
		u.busy = rest
	}
	return out
}

var uploaded [uploadFrame]byte

func appendData(out []byte, s *h2Stream, n int) []byte {
	s.left -= n
	s.room -= n
	flags := byte(0)
	if s.left == 0 {
		flags = byte(http2.FlagDataEndStream)
	}
	out = append(out, byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), flags)
	return append(binary.BigEndian.AppendUint32(out, s.id), uploaded[:n]...)
}

// update takes a WINDOW_UPDATE.
func (u *upload) update(s *h2Stream, id uint32, n int) {
	if id == 0 {
		u.room += n
	} else if s != nil {
		s.room += n
	}
}

// settings takes the size of new windows, which is that of the open ones as well.
func (u *upload) settings(payload []byte, open map[uint32]*h2Stream) {
	for ; len(payload) >= 6; payload = payload[6:] {
		if http2.SettingID(binary.BigEndian.Uint16(payload)) != http2.SettingInitialWindowSize {
			continue
		}
		n := int(binary.BigEndian.Uint32(payload[2:]))
		for _, s := range open {
			s.room += n - u.first
		}
		u.first = n
	}
}
