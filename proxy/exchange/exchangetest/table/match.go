package table

import (
	"bytes"
	"strings"
)

// Matches reports whether got is want, where "<*>" stands for anything.
func Matches(got, want string) bool {
	parts := strings.Split(want, "<*>")
	if !strings.HasPrefix(got, parts[0]) {
		return false
	}
	got = got[len(parts[0]):]
	for i, p := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(got, p)
		}
		j := strings.Index(got, p)
		if j < 0 {
			return false
		}
		got = got[j+len(p):]
	}
	return got == ""
}

func lines(s string) []byte { return bytes.ReplaceAll([]byte(s), []byte("\r\n"), []byte("\n")) }

// Clip shortens a message for a report.
func Clip(s string) string {
	if len(s) > 600 {
		s = s[:300] + "…" + s[len(s)-200:]
	}
	return string(lines(s))
}
