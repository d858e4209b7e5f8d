package streams

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// quietOrigin2 speaks HTTP/2, answers hello to every request, and allocates nothing.
func quietOrigin2(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serveQuiet2(c)
		}
	}()
	return ln.Addr().String()
}

func serveQuiet2(c net.Conn) {
	defer func() { _ = c.Close() }()
	var greeting, answer bytes.Buffer
	fr := http2.NewFramer(&greeting, nil)
	_ = fr.WriteSettings()
	_ = fr.WriteSettingsAck()
	_ = fr.WriteWindowUpdate(0, 1<<30)
	fr = http2.NewFramer(&answer, nil)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true}) // :status: 200
	body := answer.Len()
	_ = fr.WriteData(1, true, []byte("hello"))
	out, b, n := answer.Bytes(), make([]byte, 64<<10), 0
	if _, err := io.ReadFull(c, b[:len(http2.ClientPreface)]); err != nil {
		return
	}
	if _, err := c.Write(greeting.Bytes()); err != nil {
		return
	}
	for {
		k, err := c.Read(b[n:])
		if err != nil {
			return
		}
		at := 0
		for n += k; n-at >= 9; {
			f := b[at:n]
			size := 9 + (int(f[0])<<16 | int(f[1])<<8 | int(f[2]))
			if len(f) < size {
				break
			}
			at += size
			if kind := http2.FrameType(f[3]); kind > http2.FrameHeaders || f[4]&byte(http2.FlagDataEndStream) == 0 {
				continue
			}
			binary.BigEndian.PutUint32(out[5:], binary.BigEndian.Uint32(f[5:]))
			binary.BigEndian.PutUint32(out[body+5:], binary.BigEndian.Uint32(f[5:]))
			if _, err := c.Write(out); err != nil {
				return
			}
		}
		n = copy(b, b[at:n])
	}
}
