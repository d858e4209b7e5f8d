package http1

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// TestMarks: what a processor sees in sixteen bytes at once is what a look at each byte sees.
func TestMarks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var b [64]byte
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				b[i] = ":\r\n\t\x7f\x1f \x80\xff\x9f\xba\xfa"[r.IntN(12)]
			}
		}
		var colons, odd uint64
		for i, c := range b {
			if c == ':' {
				colons |= 1 << i
			}
			if c < 0x20 || c == 0x7f {
				odd |= 1 << i
			}
		}
		if c, o := marks(&b); c != colons || o != odd {
			t.Fatalf("%q: %x %x, want %x %x", b, c, o, colons, odd)
		}
		if c, o := marksByWord(&b); c != colons || o != odd {
			t.Fatalf("%q by words: %x %x, want %x %x", b, c, o, colons, odd)
		}
	}
}

// FuzzQuickFields: what is taken quickly is what the careful parser takes, with the same result; and nothing usual is left to it.
func FuzzQuickFields(f *testing.F) {
	f.Add([]byte("Host: a\r\nUser-Agent: b c\r\n\r\nrest"))
	f.Add([]byte("a:b\r\n c: d\r\n\r\n"))
	f.Add([]byte("Host:\ta\t\r\nX-A:  b \r\nEmpty:\r\nE2: \r\n\r\n"))
	f.Add([]byte(strings.Repeat("X-Long: "+strings.Repeat("v", 55)+"\r\n", 9) + "\r\n"))
	f.Add([]byte("Content-Length: 5\r\nContent-Length: 5\r\n\r\n"))
	f.Add([]byte("Connection: close, x\r\nX: y\r\n\r\n\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) { compareQuick(t, b) })
}

func compareQuick(t *testing.T, b []byte) (taken bool) {
	t.Helper()
	const limit = 20
	var quick, careful Head
	quick.reset(b)
	careful.reset(b)
	end, ok := quick.quickFields(0, limit)
	if !ok {
		return false
	}
	want, fault := careful.carefulFields(0, limit)
	if fault != NoFault || end != want || !reflect.DeepEqual(quick, careful) {
		t.Fatalf("%q: end %d, %+v\ncareful: end %d, fault %v, %+v", b, end, quick, want, fault, careful)
	}
	return true
}

// TestQuickFields draws heads whose lines end at all places of the blocks that are looked at together.
func TestQuickFields(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	names := []string{"Host", "Cookie", "accept", "X-Other", "x_under", "Via", "Content-Type", "Te", "Bad Name", "", "\xff"}
	values := []string{"", " a", " a:b;c", "\ta", " a\t", " \xe9", "a", " 1\x00", " \r", "  "}
	taken := 0
	for range 30000 {
		var b strings.Builder
		for range r.IntN(9) {
			name, value, end := names[r.IntN(8)], values[r.IntN(7)], "\r\n"
			if r.IntN(20) == 0 {
				name, value = names[r.IntN(len(names))], values[r.IntN(len(values))]
				end = []string{"\r\n", "\n", "\r", "\r\r\n", "\n\r"}[r.IntN(5)]
			}
			b.WriteString(name + ":" + value + strings.Repeat("x", r.IntN(70)) + end)
		}
		if r.IntN(10) > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(strings.Repeat("\x00", r.IntN(5)))
		if compareQuick(t, []byte(b.String())) {
			taken++
		}
	}
	if taken < 15000 {
		t.Errorf("only %d heads of 30000 were taken quickly", taken)
	}
}
