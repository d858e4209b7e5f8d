package screen

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"portico/internal/exitcode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// IsTerminal reports whether w shows to a person.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// OnScreen is text made to replace what out shows, if out is a terminal: no line
// and no column more than it has, so that nothing wraps or scrolls away.
func OnScreen(out io.Writer, text string) string {
	f, ok := out.(*os.File)
	if !ok {
		return text
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 || height < 2 {
		return text
	}
	// Home, each line over the one before it, then nothing below.
	return "\x1b[H" + fit(text, width, height, "\x1b[K") + "\x1b[J"
}

// fit cuts text to fewer than height lines of at most width characters, and ends
// each with end. The last line says how many there was no room for.
func fit(text string, width, height int, end string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if over := len(lines) - (height - 1); over > 0 {
		lines = append(lines[:height-2], fmt.Sprintf("… %d lines more", over+1))
	}
	var b strings.Builder
	for _, line := range lines {
		if r := []rune(line); len(r) > width {
			line = string(r[:width-1]) + "…"
		}
		b.WriteString(line + end + "\n")
	}
	return b.String()
}

// Consent shows what was foretold and asks on the terminal. Where nobody can answer, and with
// --json, whose output is the result and nothing else, the answer is no, said as an error that
// names the ways out, such as "--yes, or with --dry-run".
func Consent(cmd *cobra.Command, foretold, question, ways string, asJSON bool) error {
	if asJSON {
		return exitcode.Misuse(&Unasked{fmt.Sprintf("%s: with --json nobody is asked: repeat the command with %s", strings.TrimRight(foretold, "."), ways)})
	}
	out := cmd.OutOrStdout()
	if foretold != "" {
		fmt.Fprintln(out, foretold)
	}
	if !IsTerminal(cmd.InOrStdin()) {
		return exitcode.Misuse(&Unasked{"nobody is there to be asked: repeat the command with " + ways})
	}
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// The ways out where nobody can be asked.
const (
	WayYes    = "--yes"
	WayDryRun = "--yes, or with --dry-run"
)

// Unasked is a question that found nobody to answer it.
type Unasked struct{ text string }

// Error says what would have been asked, and the ways out.
func (e *Unasked) Error() string { return e.text }

// StatusLine is one line that changes in place on a terminal, cut to its width; in a pipe it is
// printed anew whenever it says something else.
type StatusLine struct {
	out   io.Writer
	Tty   bool
	width func() int // of the terminal; 0: not known
	last  string
	key   string    // of what note printed last
	noted time.Time // when that was
}

// NewStatusLine makes a line that shows on out.
func NewStatusLine(out io.Writer) *StatusLine {
	return &StatusLine{out: out, Tty: IsTerminal(out), width: func() int { return widthOf(out) }}
}

// widthOf is how many characters a line of the terminal out takes, 0 where it is none.
func widthOf(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Set shows what has happened.
func (l *StatusLine) Set(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == l.last {
		return
	}
	l.last = text
	if l.Tty {
		fmt.Fprintf(l.out, "\r\x1b[K%s", cutLine(text, l.width()))
		return
	}
	fmt.Fprintln(l.out, text)
}

// noteGap is the least time between two lines of note in a pipe.
const noteGap = time.Minute

// Note shows how something stands that goes on for long. In a pipe, which may be a log, it prints only
// what has another key than before, and at most once in noteGap.
func (l *StatusLine) Note(key, text string, now time.Time) {
	if !l.Tty && (key == l.key || now.Sub(l.noted) < noteGap && !l.noted.IsZero()) {
		return
	}
	l.key, l.noted = key, now
	l.Set("%s", text)
}

// cutLine cuts a line to a terminal of some width, which would wrap the rest, so that it could not be
// replaced. The last column stays free: some terminals wrap when it is written.
func cutLine(text string, width int) string {
	if r := []rune(text); width > 1 && len(r) >= width {
		return string(r[:width-2]) + "…"
	}
	return text
}

// Done leaves the line as it is and goes on below it.
func (l *StatusLine) Done() {
	if l.Tty && l.last != "" {
		fmt.Fprintln(l.out)
	}
	l.last = ""
}

// Password reads a secret: from the file if one is named, else from the
// terminal without showing it.
func Password(cmd *cobra.Command, file string) (string, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		line, _, _ := strings.Cut(string(data), "\n")
		return strings.TrimRight(line, "\r"), nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", exitcode.Misuse(errors.New("no terminal to ask for the password: give --password-file"))
	}
	fmt.Fprint(cmd.OutOrStdout(), "Password: ")
	data, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(cmd.OutOrStdout())
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(data), nil
}
