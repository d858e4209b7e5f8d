// Package exitcode has the errors that end the program with an exit code of their own.
//
// The codes are the same for every command. Failed (1) and not permitted (3) are told apart
// by admin.ExitCode.
package exitcode

// The exit codes that are known without the API.
const (
	Done     = 0
	Usage    = 2
	TimedOut = 4
)

// Misuse is err as one of a command line or a configuration that makes no sense.
func Misuse(err error) error { return misuse{err} }

type misuse struct{ error }

func (e misuse) Unwrap() error { return e.error }

// ExitCode returns Usage.
func (misuse) ExitCode() int { return Usage }

// Timeout is the error of a wait that ended too early.
func Timeout(message string) error { return timeout(message) }

type timeout string

func (e timeout) Error() string { return string(e) }

// ExitCode returns TimedOut.
func (timeout) ExitCode() int { return TimedOut }
