package archive

import (
	"errors"
	"fmt"
)

// RefusedError says why an archive was not taken. Nothing of such an archive
// may be used.
type RefusedError struct {
	Entry    string // name as it stands in the archive; empty: the archive as a whole
	Reason   string // "is a symbolic link", "holds more than 4294967296 bytes"
	TooLarge bool   // a limit was passed that operators can raise
	Err      error  // what the decoder said, may be nil
}

// Error implements error. The entry is quoted, so that a name cannot forge a
// line of a log.
func (e *RefusedError) Error() string {
	s := "archive " + e.Reason
	if e.Entry != "" {
		s = fmt.Sprintf("archive entry %q %s", e.Entry, e.Reason)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns what the decoder said.
func (e *RefusedError) Unwrap() error { return e.Err }

// ErrUnknownFormat is in the error of Read for content that is none of the formats.
var ErrUnknownFormat = errors.New("unknown archive format")

func refuse(entry, format string, args ...any) *RefusedError {
	return &RefusedError{Entry: entry, Reason: fmt.Sprintf(format, args...)}
}

func tooLarge(entry, format string, args ...any) *RefusedError {
	e := refuse(entry, format, args...)
	e.TooLarge = true
	return e
}

// broken wraps what a decoder said; an error that the reader has made already
// passes unchanged.
func broken(entry string, err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return err
	}
	return &RefusedError{Entry: entry, Reason: "is damaged or cut off", Err: err}
}
