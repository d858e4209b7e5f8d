package page

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// formats are the functions of the templates.
var formats = template.FuncMap{
	"num":          formatNumber,
	"limit":        formatLimit,
	"rate":         formatRate,
	"bytes":        formatBytes,
	"short":        shortDigest,
	"fingerprint":  groupFingerprint,
	"ago":          func(now, at time.Time) string { return Age(now.Sub(at)) + " ago" },
	"trouble":      troubleClass,
	"sessionState": stateOf,
	"replaces":     func(action string) bool { return action == VerbDeploy || action == VerbRollback }, // so that new visitors have the new release
	"sitepath":     SitePath,
	"latency":      func(ms float64) string { return formatLatency(time.Duration(ms * float64(time.Millisecond))) },
	"add":          func(a, b uint64) uint64 { return a + b },
}

// formatNumber writes a count in at most five characters where it is large:
// the page is for comparing, and the JSON has all digits.
func formatNumber(v any) string {
	var n float64
	switch v := v.(type) {
	case int:
		n = float64(v)
	case int64:
		n = float64(v)
	case uint64:
		n = float64(v)
	default:
		return fmt.Sprint(v)
	}
	return scaled(n, 1000, []string{"", "k", "M", "G", "T"}, 10000)
}

// scaled divides n by step until it is below the limit of plain numbers, then
// below step.
func scaled(n, step float64, units []string, plain float64) string {
	if math.Abs(n) < plain {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	i := 0
	for math.Abs(n) >= step && i < len(units)-1 {
		n /= step
		i++
	}
	digits := 1
	if math.Abs(n) >= 99.95 {
		digits = 0
	}
	return strconv.FormatFloat(n, 'f', digits, 64) + units[i]
}

func formatBytes(v any) string {
	var n float64
	switch v := v.(type) {
	case int64:
		n = float64(v)
	case uint64:
		n = float64(v)
	}
	return scaled(n, 1024, []string{"B", " KiB", " MiB", " GiB", " TiB", " PiB"}, 1024)
}

func formatLimit(n int) string {
	if n == 0 {
		return "–"
	}
	return formatNumber(n)
}

func formatRate(r float64) string {
	if r > 0 && r < 9.95 {
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return formatNumber(int64(math.Round(r)))
}

// troubleClass makes errors stand out and their absence step back.
func troubleClass(n uint64) string {
	if n > 0 {
		return "bad"
	}
	return "quiet"
}

// Age writes a duration as HAProxy's page does: the two largest units.
func Age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d/time.Minute), int(d%time.Minute/time.Second))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d/time.Hour), int(d%time.Hour/time.Minute))
	}
	return fmt.Sprintf("%dd%02dh", int(d/(24*time.Hour)), int(d%(24*time.Hour)/time.Hour))
}

func formatLatency(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(d.Seconds()*1000, 'f', 1, 64) + " ms"
	case d < 10*time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

func shortDigest(s string) string {
	files, number, numbered := strings.Cut(s, "-")
	files = files[:min(10, len(files))]
	if numbered {
		return files + "-" + number
	}
	return files
}

// groupFingerprint makes 64 digits comparable by eye: groups of four.
func groupFingerprint(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
