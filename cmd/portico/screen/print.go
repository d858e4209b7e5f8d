// Package screen shows things to people and programs: tables, JSON, a line that changes in place, questions with their answers,
// and the words for errors that a library has found none for.
package screen

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"portico/membership/catalog/ids"
)

// ShortDigest is how people see a release.
func ShortDigest(release string) string { return ids.ShortRelease(release) }

// Size writes a number of bytes for people.
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exp := float64(n)/unit, 0
	for value >= unit && exp < 4 {
		value /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[exp])
}

// Age writes how long ago t was, in its largest unit.
func Age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Span(time.Since(t))
}

// Span writes a duration in its largest unit.
func Span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// JsonFlag adds --json.
func JsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

// PrintJSON writes v for programs.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// PrintDone says what a command has done: v as JSON, or a sentence.
func PrintDone(cmd *cobra.Command, asJSON bool, v any, format string, args ...any) error {
	if asJSON {
		return PrintJSON(cmd.OutOrStdout(), v)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return err
}

// Table is lines of columns under a head.
type Table struct{ w *tabwriter.Writer }

// NewTable begins one with its head, the columns parted by tabs.
func NewTable(out io.Writer, head string) *Table {
	t := &Table{tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)}
	fmt.Fprintln(t.w, head)
	return t
}

// Row adds a line, as fmt.Printf writes it.
func (t *Table) Row(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// Flush shows the table.
func (t *Table) Flush() error { return t.w.Flush() }

// Plural writes "1 server", "2 servers".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
