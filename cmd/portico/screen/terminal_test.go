package screen

import (
	"bytes"
	"strings"
	"testing"
)

func TestFit(t *testing.T) {
	text := "one\ntwo and more\nthree\nfour\n"
	if got, want := fit(text, 6, 9, ""), "one\ntwo a…\nthree\nfour\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := fit(text, 20, 4, "."), "one.\ntwo and more.\n… 2 lines more.\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A line that is replaced each second must not wrap on a narrow terminal.
func TestStatusLineIsCutToTheWidth(t *testing.T) {
	var out bytes.Buffer
	line := &StatusLine{out: &out, Tty: true, width: func() int { return 20 }}
	line.Set("server-1: %s", strings.Repeat("é", 100))
	text := strings.TrimPrefix(out.String(), "\r\x1b[K")
	if n := len([]rune(text)); n >= 20 || !strings.HasSuffix(text, "é…") {
		t.Errorf("%d characters on a terminal of 20: %q", n, text)
	}
}
