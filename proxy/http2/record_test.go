package http2

import (
	"fmt"
	"testing"

	"portico/proxy/wire"
)

// TestFramesFillRecords: the DATA of a large answer ends where TLS records do, whatever came before it, and where several answers share the
// connection none is cut into small pieces for it.
func TestFramesFillRecords(t *testing.T) {
	for _, streams := range []int{1, 3} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			s := newServer(t, func(*asked) reply { return reply{status: 200, body: make([]byte, 300_000)} })
			w := newScript()
			w.WriteString(preface)
			w.frame(frameSettings, 0, 0, 0, settingWindow, 0x10, 0, 0, 0).frame(frameSettings, flagAck, 0).frame(frameWindow, 0, 0, 0x10, 0, 0, 0)
			for i := range streams {
				w.headers(uint32(2*i+1), true, browser)
			}
			s.stuff(w.take())
			records, part := 0, 0
			var out []byte
			for p := s.c.Pending(); len(p) > 0; p = s.c.Pending() {
				piece := Whole(p, 64<<10)
				records += (len(piece) + recordMost - 1) / recordMost
				if len(piece)%recordMost > 0 {
					part++
				}
				out = append(out, piece...)
				s.c.Wrote(len(piece), wire.More)
				s.act()
			}
			small := 0
			for b := out; len(b) > 0; b = b[frameHead+parseFrame(b).length:] {
				if f := parseFrame(b); f.kind == frameData && f.length < quotaLeast && !f.has(flagEnd) {
					small++
				}
			}
			if part > 2 || small > 0 {
				t.Errorf("%d of %d records are not full, %d frames are small", part, records, small)
			}
			s.ends()
		})
	}
}
