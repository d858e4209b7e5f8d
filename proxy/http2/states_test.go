package http2

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/proxy/wire"
)

// said names the frames that end something among those that a connection has written: "RST 1 5", "GOAWAY 1".
func said(t testing.TB, b []byte) string {
	t.Helper()
	var all []string
	for len(b) > 0 {
		if len(b) < frameHead || len(b) < frameHead+parseFrame(b).length {
			t.Fatalf("half a frame: %x", b)
		}
		f := parseFrame(b)
		p := b[frameHead : frameHead+f.length]
		b = b[frameHead+f.length:]
		switch f.kind {
		case frameReset:
			all = append(all, fmt.Sprintf("RST %d %d", f.id, binary.BigEndian.Uint32(p)))
		case frameGoAway:
			all = append(all, fmt.Sprintf("GOAWAY %d", binary.BigEndian.Uint32(p[4:])))
		}
	}
	return strings.Join(all, ", ")
}

// TestStatesAndErrors: what each frame is in each state of a stream (RFC 9113, 5.1 and 6), and what ends the stream or the connection.
func TestStatesAndErrors(t *testing.T) {
	get := browser
	post := with(browser, [2]string{":method", "POST"})
	for name, tt := range map[string]struct {
		say  func(w *script)
		want string
	}{
		// Before and between frames.
		"preface":                {func(w *script) { w.Reset(); w.WriteString("GET / HTTP/1.1\r\n\r\n") }, "GOAWAY 1"},
		"preface cut":            {func(w *script) { w.Reset(); w.WriteString(preface[:20] + "XM\r\n") }, "GOAWAY 1"},
		"no settings first":      {func(w *script) { w.Reset(); w.WriteString(preface); w.frame(framePing, 0, 0, make([]byte, 8)...) }, "GOAWAY 1"},
		"ack first":              {func(w *script) { w.Reset(); w.WriteString(preface); w.frame(frameSettings, flagAck, 0) }, "GOAWAY 1"},
		"too long":               {func(w *script) { w.Write(appendFrame(nil, frameMost+1, frameData, 0, 1)) }, "GOAWAY 6"},
		"unknown":                {func(w *script) { w.frame(0xbe, 0xff, 7, 1, 2, 3) }, ""},
		"unknown within a block": {func(w *script) { w.frame(frameHeaders, 0, 1).frame(0xbe, 0, 1) }, "GOAWAY 1"},
		"push":                   {func(w *script) { w.headers(1, true, get).frame(framePush, flagEndHeaders, 1, 0, 0, 0, 2) }, "GOAWAY 1"},
		"reserved bit":           {func(w *script) { w.headers(1|1<<31, true, get) }, ""},
		"headers on 0":           {func(w *script) { w.headers(0, true, get) }, "GOAWAY 1"},
		"headers on even":        {func(w *script) { w.headers(2, true, get) }, "GOAWAY 1"},
		"headers going back":     {func(w *script) { w.headers(5, true, get).headers(3, true, get) }, "GOAWAY 1"},
		"headers self-dependent": {func(w *script) {
			w.frame(frameHeaders, flagEnd|flagEndHeaders|flagPriority, 1, append([]byte{0, 0, 0, 1, 9}, w.fields(get)...)...)
		}, "RST 1 1"},
		"headers with priority": {func(w *script) {
			w.frame(frameHeaders, flagEnd|flagEndHeaders|flagPriority, 1, append([]byte{0, 0, 0, 9, 9}, w.fields(get)...)...)
		}, ""},
		"headers with padding": {func(w *script) {
			w.frame(frameHeaders, flagEnd|flagEndHeaders|flagPadded, 1, append(append([]byte{3}, w.fields(get)...), 0, 0, 0)...)
		}, ""},
		"headers all padding":     {func(w *script) { w.frame(frameHeaders, flagEndHeaders|flagPadded, 1, 3, 0, 0) }, "GOAWAY 1"},
		"headers without padding": {func(w *script) { w.frame(frameHeaders, flagEndHeaders|flagPadded, 1) }, "GOAWAY 1"},
		"headers half a priority": {func(w *script) { w.frame(frameHeaders, flagEndHeaders|flagPriority, 1, 0, 0, 0, 3) }, "GOAWAY 1"},
		"no hpack":                {func(w *script) { w.frame(frameHeaders, flagEnd|flagEndHeaders, 1, 0x80) }, "GOAWAY 9"},
		"hpack cut":               {func(w *script) { w.frame(frameHeaders, flagEnd|flagEndHeaders, 1, 0x41, 5, 'a') }, "GOAWAY 9"},
		"hpack table too large":   {func(w *script) { w.frame(frameHeaders, flagEnd|flagEndHeaders, 1, 0x3f, 0xe2, 0x1f) }, "GOAWAY 9"},
		"hpack table three times": {func(w *script) {
			w.frame(frameHeaders, flagEnd|flagEndHeaders, 1, append([]byte{0x20, 0x21, 0x22}, w.fields(get)...)...)
		}, "GOAWAY 9"},
		"hpack table within":      {func(w *script) { w.frame(frameHeaders, flagEnd|flagEndHeaders, 1, append(w.fields(get), 0x20)...) }, "GOAWAY 9"},
		"continuation of nothing": {func(w *script) { w.frame(frameContinuation, flagEndHeaders, 1) }, "GOAWAY 1"},
		"continuation after end":  {func(w *script) { w.headers(1, true, get).frame(frameContinuation, flagEndHeaders, 1) }, "GOAWAY 1"},
		"continuation of another": {func(w *script) { w.frame(frameHeaders, 0, 1).frame(frameContinuation, flagEndHeaders, 3) }, "GOAWAY 1"},
		"data within a block":     {func(w *script) { w.frame(frameHeaders, 0, 1).frame(frameData, 0, 1) }, "GOAWAY 1"},
		"block in pieces": {func(w *script) {
			b := w.fields(get)
			w.frame(frameHeaders, flagEnd, 1, b[:7]...).frame(frameContinuation, 0, 1, b[7:9]...).frame(frameContinuation, flagEndHeaders, 1, b[9:]...)
		}, ""},

		// Idle.
		"idle data":     {func(w *script) { w.frame(frameData, 0, 1, 1) }, "GOAWAY 1"},
		"idle reset":    {func(w *script) { w.frame(frameReset, 0, 1, 0, 0, 0, 8) }, "GOAWAY 1"},
		"idle window":   {func(w *script) { w.frame(frameWindow, 0, 1, 0, 0, 0, 8) }, "GOAWAY 1"},
		"idle even":     {func(w *script) { w.headers(3, true, get).frame(frameWindow, 0, 2, 0, 0, 0, 8) }, "GOAWAY 1"},
		"idle priority": {func(w *script) { w.frame(framePriority, 0, 7, 0, 0, 0, 0, 5) }, ""},

		// Open.
		"open data":          {func(w *script) { w.headers(1, false, post).frame(frameData, 0, 1, 'x').frame(frameData, flagEnd, 1) }, ""},
		"open data padded":   {func(w *script) { w.headers(1, false, post).frame(frameData, flagPadded|flagEnd, 1, 2, 'x', 0, 0) }, ""},
		"open data, padding": {func(w *script) { w.headers(1, false, post).frame(frameData, flagPadded, 1, 2, 0) }, "GOAWAY 1"},
		"open data, nothing": {func(w *script) { w.headers(1, false, post).frame(frameData, flagPadded, 1) }, "GOAWAY 1"},
		"open trailers": {func(w *script) {
			w.headers(1, false, post).frame(frameData, 0, 1, 'x').headers(1, true, [][2]string{{"x-sum", "1"}})
		}, ""},
		"trailers no end": {func(w *script) { w.headers(1, false, post).headers(1, false, [][2]string{{"x-sum", "1"}}) }, "RST 1 1"},
		"trailers pseudo": {func(w *script) { w.headers(1, false, post).headers(1, true, [][2]string{{":path", "/"}}) }, "RST 1 1"},
		"trailers hop":    {func(w *script) { w.headers(1, false, post).headers(1, true, [][2]string{{"connection", "close"}}) }, "RST 1 1"},
		"trailers long": {func(w *script) {
			w.headers(1, false, post).headers(1, true, [][2]string{{"x", strings.Repeat("v", 9000)}})
		}, "RST 1 1"},
		"open reset":         {func(w *script) { w.headers(1, false, post).frame(frameReset, 0, 1, 0, 0, 0, 8) }, ""},
		"open priority":      {func(w *script) { w.headers(1, false, post).frame(framePriority, 0, 1, 0, 0, 0, 3, 5) }, ""},
		"open self-priority": {func(w *script) { w.headers(1, false, post).frame(framePriority, 0, 1, 0, 0, 0, 1, 5) }, "RST 1 1"},
		"open priority long": {func(w *script) { w.headers(1, false, post).frame(framePriority, 0, 1, 0, 0, 0, 3, 5, 5) }, "RST 1 6"},
		"open window 0":      {func(w *script) { w.headers(1, false, post).frame(frameWindow, 0, 1, 0, 0, 0, 0) }, "RST 1 1"},
		"open window large":  {func(w *script) { w.headers(1, false, post).frame(frameWindow, 0, 1, 0x7f, 0xff, 0xff, 0xff) }, "RST 1 3"},
		"open too much": {func(w *script) {
			w.headers(1, false, with(post, [2]string{"x-hold", "1"}))
			for range 4 {
				w.frame(frameData, 0, 1, make([]byte, frameMost)...)
			}
		}, "RST 1 3"},

		// Half-closed by the client.
		"ended data":    {func(w *script) { w.headers(1, true, with(get, [2]string{"x-hold", "1"})).frame(frameData, 0, 1, 'x') }, "RST 1 5"},
		"ended headers": {func(w *script) { w.headers(1, true, with(get, [2]string{"x-hold", "1"})).headers(1, true, get) }, "RST 1 5"},
		"ended window": {func(w *script) {
			w.headers(1, true, with(get, [2]string{"x-hold", "1"})).frame(frameWindow, 0, 1, 0, 0, 0, 1)
		}, ""},
		"ended reset": {func(w *script) {
			w.headers(1, true, with(get, [2]string{"x-hold", "1"})).frame(frameReset, 0, 1, 0, 0, 0, 8)
		}, ""},

		// Half-closed by us: the rest of the request is not wanted, but was on its way. The client may finish.
		"answered data": {func(w *script) {
			w.headers(1, false, with(post, [2]string{"x-early", "1"})).frame(frameData, flagEnd, 1, 'x')
		}, ""},
		"answered trailers": {func(w *script) {
			w.headers(1, false, with(post, [2]string{"x-early", "1"})).headers(1, true, [][2]string{{"x-sum", "1"}})
		}, ""},
		"answered reset": {func(w *script) {
			w.headers(1, false, with(post, [2]string{"x-early", "1"})).frame(frameReset, 0, 1, 0, 0, 0, 8)
		}, ""},

		// Closed.
		"closed data":     {func(w *script) { w.headers(1, true, get).frame(frameData, 0, 1, 'x') }, "RST 1 5"},
		"closed headers":  {func(w *script) { w.headers(1, true, get).headers(1, true, get) }, "GOAWAY 5"},
		"closed reset":    {func(w *script) { w.headers(1, true, get).frame(frameReset, 0, 1, 0, 0, 0, 8) }, ""},
		"closed window":   {func(w *script) { w.headers(1, true, get).frame(frameWindow, 0, 1, 0, 0, 0, 8) }, ""},
		"closed priority": {func(w *script) { w.headers(1, true, get).frame(framePriority, 0, 1, 0, 0, 0, 3, 5) }, ""},
		"reset, then data": {func(w *script) {
			w.headers(1, false, post).frame(frameReset, 0, 1, 0, 0, 0, 8).frame(frameData, 0, 1, 'x')
		}, "RST 1 5"},
		"reset, then headers":  {func(w *script) { w.headers(1, false, post).frame(frameReset, 0, 1, 0, 0, 0, 8).headers(1, true, get) }, "GOAWAY 5"},
		"skipped, then data":   {func(w *script) { w.headers(5, true, get).frame(frameData, 0, 3, 'x') }, "RST 3 5"},
		"refused, then data":   {func(w *script) { w.headers(1, false, get[1:]).frame(frameData, flagEnd, 1, 'x') }, "RST 1 1"},
		"refused, then reset":  {func(w *script) { w.headers(1, false, get[1:]).frame(frameReset, 0, 1, 0, 0, 0, 8) }, "RST 1 1"},
		"refused, then window": {func(w *script) { w.headers(1, false, get[1:]).frame(frameWindow, 0, 1, 0, 0, 0, 8) }, "RST 1 1"},

		// Frames of the wrong length or on the wrong stream.
		"data on 0":            {func(w *script) { w.frame(frameData, 0, 0, 'x') }, "GOAWAY 1"},
		"reset on 0":           {func(w *script) { w.frame(frameReset, 0, 0, 0, 0, 0, 8) }, "GOAWAY 1"},
		"reset short":          {func(w *script) { w.headers(1, false, post).frame(frameReset, 0, 1, 0, 0, 8) }, "GOAWAY 6"},
		"priority on 0":        {func(w *script) { w.frame(framePriority, 0, 0, 0, 0, 0, 3, 5) }, "GOAWAY 1"},
		"ping short":           {func(w *script) { w.frame(framePing, 0, 0, 1, 2, 3) }, "GOAWAY 6"},
		"ping on a stream":     {func(w *script) { w.frame(framePing, 0, 1, make([]byte, 8)...) }, "GOAWAY 1"},
		"goaway short":         {func(w *script) { w.frame(frameGoAway, 0, 0, 0, 0, 0, 0) }, "GOAWAY 6"},
		"goaway on a stream":   {func(w *script) { w.frame(frameGoAway, 0, 1, make([]byte, 8)...) }, "GOAWAY 1"},
		"window short":         {func(w *script) { w.frame(frameWindow, 0, 0, 1, 2, 3) }, "GOAWAY 6"},
		"window 0":             {func(w *script) { w.frame(frameWindow, 0, 0, 0, 0, 0, 0) }, "GOAWAY 1"},
		"window large":         {func(w *script) { w.frame(frameWindow, 0, 0, 0x7f, 0xff, 0xff, 0xff) }, "GOAWAY 3"},
		"settings on a stream": {func(w *script) { w.frame(frameSettings, 0, 1) }, "GOAWAY 1"},
		"settings short":       {func(w *script) { w.frame(frameSettings, 0, 0, 0, 1, 0) }, "GOAWAY 6"},
		"settings ack with":    {func(w *script) { w.frame(frameSettings, flagAck, 0, 0, 1, 0, 0, 0, 1) }, "GOAWAY 6"},
		"settings push":        {func(w *script) { w.frame(frameSettings, 0, 0, 0, 2, 0, 0, 0, 2) }, "GOAWAY 1"},
		"settings window":      {func(w *script) { w.frame(frameSettings, 0, 0, 0, 4, 0x80, 0, 0, 0) }, "GOAWAY 3"},
		"settings frame small": {func(w *script) { w.frame(frameSettings, 0, 0, 0, 5, 0, 0, 0x3f, 0xff) }, "GOAWAY 1"},
		"settings frame large": {func(w *script) { w.frame(frameSettings, 0, 0, 0, 5, 1, 0, 0, 0) }, "GOAWAY 1"},
		"settings connect":     {func(w *script) { w.frame(frameSettings, 0, 0, 0, 8, 0, 0, 0, 2) }, "GOAWAY 1"},
		"settings priorities":  {func(w *script) { w.frame(frameSettings, 0, 0, 0, 9, 0, 0, 0, 2) }, "GOAWAY 1"},
		"settings unknown":     {func(w *script) { w.frame(frameSettings, 0, 0, 0xbe, 0xef, 0, 0, 0, 2) }, ""},
		"settings window grown": {func(w *script) {
			w.headers(1, false, post).frame(frameWindow, 0, 1, 0x7f, 0, 0, 0).frame(frameSettings, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff)
		}, "GOAWAY 3"},
		"update on a stream": {func(w *script) { w.frame(framePriorityUpdate, 0, 1, 0, 0, 0, 1) }, "GOAWAY 1"},
		"update short":       {func(w *script) { w.frame(framePriorityUpdate, 0, 0, 0, 0, 0) }, "GOAWAY 6"},
		"update of 0":        {func(w *script) { w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, 0) }, "GOAWAY 1"},
		"update of idle":     {func(w *script) { w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, 1, 'u', '=', '1') }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(a *asked) reply {
				if a.req.Get("x-hold") != nil {
					return reply{status: 200, echo: true}
				}
				return plain(200, "ok")
			})
			w := newScript().hello()
			tt.say(w)
			s.hold = strings.HasPrefix(name, "ended") || name == "open too much"
			if got := said(t, s.feed(w.Bytes())); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if over := s.c.Over(); over != strings.Contains(tt.want, "GOAWAY") {
				t.Errorf("over: %v", over)
			}
			s.c.Read(0, wire.EOF)
			s.act()
			s.ends()
		})
	}
}

// TestPieces: it does not matter in which pieces a client's bytes come.
func TestPieces(t *testing.T) {
	w := newScript().hello()
	w.headers(1, false, with(browser, [2]string{":method", "POST"})).frame(frameData, flagPadded, 1, append([]byte{9}, make([]byte, 300)...)...)
	w.frame(framePing, 0, 0, make([]byte, 8)...).headers(3, true, browser).headers(1, true, [][2]string{{"x-sum", "1"}}).headers(5, false, browser)
	w.frame(frameData, flagEnd, 5, make([]byte, 9000)...)
	var want []byte
	for size := w.Len(); size > 0; size = size * 2 / 3 {
		s := newServer(t, func(a *asked) reply { return plain(200, string(a.text)+fmt.Sprint(len(a.body))) })
		var out []byte
		for b := w.Bytes(); len(b) > 0; {
			n := min(size, len(b))
			out = append(out, s.feed(b[:n])...)
			b = b[n:]
		}
		if want == nil {
			want = out
		}
		if string(out) != string(want) {
			t.Errorf("pieces of %d: %d bytes, want %d", size, len(out), len(want))
		}
		s.c.Read(0, wire.EOF)
		s.act()
		s.ends()
	}
}

// TestDrain: a connection that ends in order serves what is on its way.
func TestDrain(t *testing.T) {
	s := newServer(t, func(a *asked) reply { return plain(200, "ok") })
	w := newScript().hello()
	s.feed(w.headers(1, false, with(browser, [2]string{":method", "POST"})).take())
	s.c.Drain()
	if got := said(t, s.feed(nil)); got != "GOAWAY 0" || s.c.Over() {
		t.Fatalf("%q, over %v", got, s.c.Over())
	}
	s.feed(w.headers(3, true, browser).take()) // was on its way
	if got := said(t, s.feed(w.frame(framePing, flagAck, 0, []byte(drainPing)...).take())); got != "GOAWAY 0" || s.c.Over() {
		t.Fatalf("%q, over %v", got, s.c.Over())
	}
	if out := s.feed(w.headers(5, false, browser).frame(frameData, flagEnd, 5, 'x').frame(frameReset, 0, 5, 0, 0, 0, 8).take()); len(out) != 0 {
		t.Errorf("a stream after the last got %x", out)
	}
	s.feed(w.frame(frameData, flagEnd, 1, 'x').take())
	if !s.c.Over() {
		t.Error("the connection is still open")
	}
	s.ends()
}

// TestTimers: nobody keeps a connection by saying nothing, or half of something, or taking nothing.
func TestTimers(t *testing.T) {
	for name, tt := range map[string]struct {
		say  func(w *script)
		wait time.Duration
		want string
	}{
		"nothing":      {func(w *script) { w.Reset() }, 10 * time.Second, "GOAWAY 0"},
		"preface":      {func(w *script) { w.Truncate(len(preface)) }, 10 * time.Second, "GOAWAY 0"},
		"block":        {func(w *script) { w.frame(frameHeaders, 0, 1, 0x82) }, 10 * time.Second, "GOAWAY 11"},
		"half a block": {func(w *script) { w.headers(1, true, browser).Truncate(w.Len() - 1) }, 10 * time.Second, "GOAWAY 11"},
		"no ack":       {func(w *script) { w.Truncate(w.Len() - frameHead) }, 30 * time.Second, "GOAWAY 4"},
		"idle":         {func(w *script) {}, 75 * time.Second, "GOAWAY 0"},
		"idle, pings":  {func(w *script) { w.headers(1, true, browser).frame(framePing, 0, 0, make([]byte, 8)...) }, 75 * time.Second, "GOAWAY 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(a *asked) reply { return plain(200, "ok") })
			w := newScript().hello()
			tt.say(w)
			s.feed(w.Bytes())
			at := s.c.Deadline()
			if want := int64(time.Second + tt.wait); at != want {
				t.Fatalf("the deadline is in %v", time.Duration(at)-time.Second)
			}
			s.c.Now(at - 1)
			s.c.Timeout()
			if s.c.Over() {
				t.Fatal("too early")
			}
			s.c.Now(at)
			s.c.Timeout()
			if got := said(t, s.feed(nil)); got != tt.want || !s.c.Over() || s.c.Denied() {
				t.Errorf("got %q, over %v", got, s.c.Over())
			}
			s.ends()
		})
	}
	t.Run("output", func(t *testing.T) {
		s := newServer(t, func(a *asked) reply { return plain(200, "ok") })
		s.c.Now(int64(time.Minute))
		s.c.Timeout() // the preface has not come
		s.c.Timeout() // and nobody takes what we say about it
		if !s.c.Over() || len(s.c.Pending()) != 0 {
			t.Error("the connection is still open")
		}
		s.c.Wrote(0, wire.Failed)
		s.ends()
	})
}
