package accesslog

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// TestLogDigits compares what the log writes by hand with what the standard library writes.
func TestLogDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200000 {
		n := int64(r.Uint64() >> r.IntN(64))
		if i < 120000 {
			n = int64(i)
		}
		for _, n := range []int64{n, -n} {
			if got, want := string(appendCount([]byte("x"), n)), "x"+strconv.FormatInt(n, 10); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
	}
}

// TestPlainJSON: eight bytes at once find the same as one after another.
func TestPlainJSON(t *testing.T) {
	for c := range 256 {
		for at := range 16 {
			for _, fill := range []string{"a", " ", "~", "!"} {
				b := []byte(strings.Repeat(fill, 16))
				b[at] = byte(c)
				if got := plainJSON(string(b)); got != plainByte[c] {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
	if !plainWord(0x7e2f21402a30417a) {
		t.Error("a usual word is looked at byte by byte")
	}
}
