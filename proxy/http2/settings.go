package http2

import (
	"encoding/binary"

	"portico/proxy/http2/hpack"
)

// The settings that matter here (RFC 9113, 6.5.2; RFC 8441, 3; RFC 9218, 2.1).
const (
	settingTable      = 0x1 // HEADER_TABLE_SIZE
	settingPush       = 0x2 // ENABLE_PUSH
	settingStreams    = 0x3 // MAX_CONCURRENT_STREAMS
	settingWindow     = 0x4 // INITIAL_WINDOW_SIZE
	settingFrame      = 0x5 // MAX_FRAME_SIZE
	settingList       = 0x6 // MAX_HEADER_LIST_SIZE
	settingConnect    = 0x8 // ENABLE_CONNECT_PROTOCOL
	settingPriorities = 0x9 // NO_RFC7540_PRIORITIES
)

// greet says our SETTINGS, and how much the other end may send.
func (c *Conn) greet(settings [][2]uint32) {
	c.roomOut(128)
	at := len(c.out)
	c.out = appendFrame(c.out, 0, frameSettings, 0, 0)
	for _, s := range settings {
		c.out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(c.out, uint16(s[0])), s[1])
	}
	c.out[at+2] = byte(len(c.out) - at - frameHead)
	c.sending.receive = receiveAll
	c.addWindow(0, receiveAll-windowUsual)
}

// settingsFrame takes the client's (RFC 9113, 6.5).
func (c *Conn) settingsFrame(f frame, p []byte) Event {
	switch {
	case f.id != 0:
		return c.fail(codeProtocol)
	case f.has(flagAck) && len(p) > 0, len(p)%6 != 0:
		return c.fail(codeFrameSize)
	case f.has(flagAck):
		c.acked = true
		c.idle(1)
		return Event{}
	}
	// One that is long costs more: there is a stream to change for each word of it.
	if c.greeted && !c.idle(1+len(p)/48) {
		return Event{}
	}
	c.greeted = true
	for ; len(p) > 0; p = p[6:] {
		if why := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); why != codeNone {
			return c.fail(why)
		}
	}
	c.add(frameSettings, flagAck, 0)
	return Event{}
}

func (c *Conn) setting(id uint16, v uint32) code {
	switch id {
	case settingTable:
		c.encoder.Limit(int(min(v, hpack.TableMost)))
	case settingPush, settingConnect, settingPriorities:
		if v > 1 || id == settingPush && v == 1 && c.origin != nil { // 6.5.2: no server asks for that
			return codeProtocol
		}
		if id == settingConnect && c.origin != nil {
			c.origin.tunnels = v == 1
		}
	case settingStreams:
		if c.origin != nil {
			c.origin.most = int(min(v, lastStream))
		}
	case settingWindow:
		if v > windowMost {
			return codeFlow
		}
		return c.windows(int(v))
	case settingFrame:
		if v < frameMost || v > 1<<24-1 {
			return codeProtocol
		}
	}
	return codeNone
}

// windows changes the windows of all streams, which may become less than nothing (RFC 9113, 6.9.2).
func (c *Conn) windows(initial int) code {
	grown := initial - c.initial
	c.initial = initial
	for s := c.mine; s != nil; s = s.after {
		if s.window += grown; s.window > windowMost {
			return codeFlow
		}
		if s.window > 0 {
			c.ready(s)
		} else {
			c.dequeue(s)
		}
	}
	return codeNone
}
