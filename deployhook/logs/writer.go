package logs

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// lineWriter writes whole lines from several goroutines.
type lineWriter struct {
	mu      sync.Mutex
	w       io.Writer
	json    bool
	gathers bool // until end, which brings them in order
	lines   []messages.LogLine
	failed  error

	last map[string]*LastLines // by member, of those that are followed
}

// line takes one line and reports whether the reader is still there.
func (l *lineWriter) line(line messages.LogLine) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gathers {
		l.lines = append(l.lines, line)
		return true
	}
	if last := l.last[line.Member]; last != nil && line.Instance != "" && last.Known(line.At, line.Release+" "+line.Instance+" "+line.Text) {
		return l.failed == nil
	}
	l.write(line)
	if f, ok := l.w.(http.Flusher); ok && l.failed == nil {
		f.Flush()
	}
	return l.failed == nil
}

// write writes one line; l.mu is held.
func (l *lineWriter) write(line messages.LogLine) {
	switch {
	case l.failed != nil:
	case l.json:
		enc := json.NewEncoder(l.w)
		enc.SetEscapeHTML(false)
		l.failed = enc.Encode(line)
	default:
		from := line.Member
		if line.Release != "" {
			from += " " + ids.ShortRelease(line.Release)
		}
		_, l.failed = fmt.Fprintf(l.w, "%s %s | %s\n", line.At.UTC().Format(timeForm), from, harmless(line.Text))
	}
}

// timeForm is how a line's time is written: the digits are as many as are known.
const timeForm = "2006-01-02T15:04:05.000Z"

// end writes what was gathered, in the order of time.
func (l *lineWriter) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.lines, func(a, b messages.LogLine) int { return a.At.Compare(b.At) })
	for _, line := range l.lines {
		l.write(line)
	}
	return l.failed
}

// harmless takes what could steer a terminal or forge a line out of a site's own
// words. Colours stay: ESC [ numbers m.
func harmless(text string) string {
	if !strings.ContainsFunc(text, steers) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := colour(text[i:]); n > 0 {
			b.WriteString(text[i : i+n])
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if steers(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

func steers(r rune) bool { return r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// colour returns the length of the colour sequence that s begins with, or 0.
func colour(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "0123456789;")
	if !strings.HasPrefix(rest, "m") {
		return 0
	}
	return len(s) - len(rest) + 1
}

// unread tells that a member's log cannot be read.
func (l *lineWriter) unread(member, why string) {
	l.line(messages.LogLine{At: time.Now().UTC(), Member: member, Text: "portico: its log cannot be read: " + why})
}

// follows keeps a member's last lines from now on, so that none is written twice after a break.
func (l *lineWriter) follows(member string) *LastLines {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[string]*LastLines{}
	}
	last := &LastLines{}
	l.last[member] = last
	return last
}

// breaks notes a break, and returns when the latest line before it was written.
func (l *lineWriter) breaks(last *LastLines) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return last.Break()
}

// gone reports whether nobody reads any more.
func (l *lineWriter) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed != nil
}
