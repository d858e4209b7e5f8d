package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"portico/deployhook/agent/portowner"
	"portico/membership/catalog"
)

// printable returns the beginning of an answer without what would disturb a
// terminal or a log.
func printable(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), bodyShown)]), "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

// TimedOut reports whether an error says that something took too long.
func TimedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

func connectCode(err error) string {
	if TimedOut(err) {
		return "L4TOUT"
	}
	return "L4CON"
}

// plain says what a connection error means without the address that everybody
// knows here.
func plain(err error) string {
	var foreign *portowner.ForeignError
	switch {
	case errors.As(err, &foreign):
		return foreign.Err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there"
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	}
	return err.Error()
}

// Describe puts a probe into one line.
func Describe(p catalog.Probe) string {
	s := p.Code
	if p.Status != 0 {
		s += fmt.Sprintf(", status %d", p.Status)
	}
	s += ", " + p.Latency.Std().Round(time.Millisecond).String()
	if p.Error != "" {
		s += ": " + p.Error
	}
	return s
}
