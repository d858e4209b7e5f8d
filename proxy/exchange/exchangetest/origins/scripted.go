package origins

import (
	"bufio"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
)

// h2Origin hands each connection to serve, its preface read and SETTINGS said.
func h2Origin(t *testing.T, settings []http2.Setting, serve func(n int, c net.Conn, fr *http2.Framer)) *rig.Origin {
	return rig.NewRawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) {
		fr := http2.NewFramer(c, br)
		_, _ = io.ReadFull(br, make([]byte, len(http2.ClientPreface)))
		_ = fr.WriteSettings(settings...)
		serve(n, c, fr)
	})
}

// requests calls asked for each request's head.
func requests(fr *http2.Framer, asked func(id uint32) bool) {
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if !asked(f.StreamID) {
				return
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = fr.WriteSettingsAck()
			}
		}
	}
}

func say(fr *http2.Framer, id uint32, end bool, block ...byte) {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: end})
}

const status200, status204 = 0x80 | 8, 0x80 | 9

func toward(o *rig.Origin) *rig.Handler {
	return &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: o.Addr(), HTTP2: true}}}
}
