package api

import (
	"fmt"
	"strings"
	"time"

	"portico/internal/refusal"
	"portico/internal/units"
)

// Bounded cuts what somebody sent, so that an answer or a record can name it.
func Bounded(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Count writes a number with its noun: "1 session", "2 sessions".
func Count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Duration reads a duration such as "90d" of a request; empty means fallback.
func Duration(text string, fallback, most time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	var d units.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return 0, refusal.BadRequest("", "%v", err)
	}
	if d.Std() <= 0 || d.Std() > most {
		return 0, refusal.BadRequest("", "%q is not between 1s and %s", text, units.Duration(most))
	}
	return d.Std(), nil
}
