package sites

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/internal/nearest"
	"portico/internal/units"
)

// Mistake is one thing that is wrong with settings. It is an ErrInvalid.
type Mistake struct {
	Key   string // where it stands, as in a site's file: "health.path", "hosts[1]"
	Value string // what stands there, as it would be written; empty: nothing, or nothing to be shown
	Text  string // what is wrong with it and the remedy, to be read behind the value
}

// Error tells the setting, its value, what is wrong with it and the remedy.
func (m Mistake) Error() string {
	if m.Value == "" {
		return m.Key + " " + m.Text
	}
	return m.Key + " = " + m.Value + " " + m.Text
}

// Below is Error where the line of a file is shown, which names the section.
func (m Mistake) Below() string {
	key := m.Key[strings.LastIndexByte(m.Key, '.')+1:]
	if m.Value == "" {
		return key + ": " + m.Text
	}
	return key + ": " + m.Value + " " + m.Text
}

// Unwrap returns ErrInvalid.
func (m Mistake) Unwrap() error { return ErrInvalid }

// Mistakes are all that is wrong with settings, none of which may be used. It is an ErrInvalid.
type Mistakes []Mistake

// Error tells every mistake, one a line.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns ErrInvalid.
func (m Mistakes) Unwrap() error { return ErrInvalid }

// text notes what is wrong with a text.
func (m *Mistakes) text(key, value, format string, args ...any) {
	*m = append(*m, Mistake{Key: key, Value: strconv.Quote(clip(value)), Text: fmt.Sprintf(format, args...)})
}

// value notes what is wrong with a number, or with anything that stands without quotes.
func (m *Mistakes) value(key string, value any, format string, args ...any) {
	*m = append(*m, Mistake{Key: key, Value: fmt.Sprint(value), Text: fmt.Sprintf(format, args...)})
}

// bare notes what is wrong where no value is to be shown.
func (m *Mistakes) bare(key, format string, args ...any) {
	*m = append(*m, Mistake{Key: key, Text: fmt.Sprintf(format, args...)})
}

// oneOf takes the empty text too, which stands for the default.
func (m *Mistakes) oneOf(key, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		m.text(key, value, "%s", remedy(value, allowed))
	}
}

// remedy says what to write in place of a value that is none of the names.
func remedy[T ~string](value string, names []T) string {
	allowed := make([]string, len(names))
	for i, name := range names {
		allowed[i] = string(name)
	}
	return nearest.Remedy(value, allowed)
}

func (m *Mistakes) between(key string, n, least, most int) {
	if n < least || n > most {
		m.value(key, n, "is out of range: write %d to %d", least, most)
	}
}

// within takes 0 too, which stands for the default or for none.
func (m *Mistakes) within(key string, d units.Duration, least, most time.Duration) {
	if d != 0 && (d.Std() < least || d.Std() > most) {
		m.text(key, d.String(), "is not between %s and %s", units.Duration(least), units.Duration(most))
	}
}

// element is the key of a list's element.
func element(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// clip keeps a quoted value from filling the screen.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
