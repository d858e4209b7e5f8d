package http2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/http2/hpack"
	"portico/proxy/wire"
)

// TestAnsweredIsNotRefused: of a request that was answered, be it for the time being, no word of the origin makes one that it did not look
// at, also when nothing of the answer was read yet.
func TestAnsweredIsNotRefused(t *testing.T) {
	goes := func(fr *http2.Framer) { _ = fr.WriteGoAway(0, http2.ErrCodeNo, nil) }
	refuses := func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) }
	for name, test := range map[string]struct {
		status  string // "": no answer
		says    func(fr *http2.Framer)
		refused bool
		broken  bool // what of the answer there was is over
	}{
		"goes":              {"", goes, true, true},
		"refuses":           {"", refuses, true, true},
		"hints, goes":       {"103", goes, false, true},
		"hints, refuses":    {"103", refuses, false, true},
		"answers, goes":     {"200", goes, false, false},
		"answers, refuses":  {"200", refuses, false, true},
		"answers in whole":  {"204", goes, false, false},
		"whole, and resets": {"204", refuses, false, false},
	} {
		ours, theirs := pair2(t)
		c := newCaller(t, ours)
		var in bytes.Buffer
		fr := http2.NewFramer(&in, nil)
		c.take(&in, fr.WriteSettings())
		w := get("/")
		w.st = c.c.Open()
		_, _ = w.st.Write([]byte(w.head), nil, true)
		if test.status != "" {
			var e hpack.Encoder
			e.Reset()
			headers(fr, 1, test.status == "204", e.Plain(nil, 0, []byte(":status"), []byte(test.status)))
		}
		test.says(fr)
		c.take(&in, nil)
		_, res := w.st.Read(c.piece[:])
		if w.st.Refused() != test.refused || (res == wire.Failed) != test.broken {
			t.Errorf("%s: refused %v, %v", name, w.st.Refused(), res)
		}
		c.end(w)
		_, _ = ours.Close(), theirs.Close()
	}
}

// take lets what an origin has sent come in one piece.
func (c *caller) take(in *bytes.Buffer, err error) {
	if err != nil {
		c.t.Fatal(err)
	}
	n := copy(c.c.Space(), in.Next(in.Len()))
	c.c.Read(n, wire.Blocked)
	for c.c.Next().Kind != EventNone {
	}
}
