package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal reports whether w shows to a person.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks on the terminal. Without one the answer is no, said as an error
// that names the way out.
func confirm(cmd *cobra.Command, question string) error {
	if !isTerminal(cmd.InOrStdin()) {
		return usageError{errors.New("nobody is there to be asked: repeat the command with --yes")}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s [y/N] ", question)
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

// statusLine is one line that changes in place on a terminal; in a pipe it is
// printed anew whenever it says something else.
type statusLine struct {
	out  io.Writer
	tty  bool
	last string
}

func newStatusLine(out io.Writer) *statusLine {
	return &statusLine{out: out, tty: isTerminal(out)}
}

func (l *statusLine) set(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == l.last {
		return
	}
	l.last = text
	if l.tty {
		fmt.Fprintf(l.out, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(l.out, text)
}

// done leaves the line as it is and goes on below it.
func (l *statusLine) done() {
	if l.tty && l.last != "" {
		fmt.Fprintln(l.out)
	}
	l.last = ""
}

// password reads a secret: from the file if one is named, else from the
// terminal without showing it.
func password(cmd *cobra.Command, file string) (string, error) {
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
		return "", usageError{errors.New("no terminal to ask for the password: give --password-file")}
	}
	fmt.Fprint(cmd.OutOrStdout(), "Password: ")
	data, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(cmd.OutOrStdout())
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(data), nil
}
