package http2

import "encoding/binary"

// The frame types (RFC 9113, 6; RFC 9218, 7.1).
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	framePriority       = 0x2
	frameReset          = 0x3
	frameSettings       = 0x4
	framePush           = 0x5
	framePing           = 0x6
	frameGoAway         = 0x7
	frameWindow         = 0x8
	frameContinuation   = 0x9
	framePriorityUpdate = 0x10
)

// Their flags.
const (
	flagEnd        = 0x1 // END_STREAM
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	frameHead = 9
	frameMost = 16 << 10 // SETTINGS_MAX_FRAME_SIZE, both ways: what we announce, and we send no larger ones whatever a client takes
)

// frame is the head of one.
type frame struct {
	length int
	kind   byte
	flags  byte
	id     uint32
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// parseFrame reads a frame's head (RFC 9113, 4.1).
func parseFrame(b []byte) frame {
	_ = b[8]
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3],
		flags:  b[4],
		id:     binary.BigEndian.Uint32(b[5:]) &^ (1 << 31),
	}
}

// appendFrame appends a frame's head.
func appendFrame(dst []byte, length int, kind, flags byte, id uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), kind, flags, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// unpad takes padding off a payload (RFC 9113, 6.1). False: there is more of it than payload.
func unpad(p []byte) ([]byte, bool) {
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, false
	}
	return p[1 : len(p)-int(p[0])], true
}
