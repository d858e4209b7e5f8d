package logs

import (
	"strings"
	"testing"
)

func FuzzLastLines(f *testing.F) {
	f.Add([]byte("a\nb\x1b[2J\n\xff\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = max(0, min(n, 100))
		for _, line := range lastLines(b, n) {
			if strings.ContainsAny(line, "\n\x1b\x00") {
				t.Errorf("line %q", line)
			}
		}
	})
}
