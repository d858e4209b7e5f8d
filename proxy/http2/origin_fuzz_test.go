package http2

import (
	"strings"
	"testing"
	"time"

	"portico/proxy/wire"
)

// FuzzOrigin: whatever an origin says, every stream ends or waits, nothing stays borrowed, and what is read as an answer's head is one line
// of status and fields.
func FuzzOrigin(f *testing.F) {
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	f.Add([]byte(settings+"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"), 7)
	f.Add([]byte(settings+"\x00\x00\x01\x01\x04\x00\x00\x00\x03\x88\x00\x00\x03\x00\x01\x00\x00\x00\x03abc"), 100)
	f.Add([]byte(settings+"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"), 3)
	f.Add([]byte(settings+"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x07"), 1000)
	f.Fuzz(func(t *testing.T, said []byte, step int) {
		c := &caller{t: t}
		c.c.Dial(defaults(), &c.mem, time.Minute, 1)
		calls := []*call{get("/1"), post("/2", strings.Repeat("u", 200<<10)), get("/3")}
		now := int64(1)
		for len(said) > 0 && !c.c.Over() {
			now += 1e6
			c.c.Now(now)
			n := min(len(said), max(step&4095, 1))
			b := c.c.Space()
			if b == nil {
				break
			}
			n = copy(b, said[:n])
			said = said[n:]
			c.c.Read(n, wire.More)
			c.act()
			for _, w := range calls {
				if w.st == nil {
					if w.st = c.c.Open(); w.st != nil {
						w.st.User = w
						c.pump(w)
					}
				}
			}
			for p := c.c.Pending(); len(p) > 0; p = c.c.Pending() {
				c.c.Wrote(len(p), wire.More)
				c.act()
			}
		}
		c.c.Read(0, wire.EOF)
		c.act()
		for i, w := range calls {
			if w.st != nil && !w.over {
				t.Errorf("call %d goes on when the connection has ended", i)
			}
			if len(w.got) > 0 && !strings.HasPrefix(string(w.got), "HTTP/1.1 ") {
				t.Errorf("call %d: %q", i, w.got)
			}
		}
		c.end()
	})
}
