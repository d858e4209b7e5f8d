package catalog

import (
	"errors"
	"strings"

	"portico/conf/sites"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound reports that a record does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists reports that a record with that name exists already.
	ErrExists = errors.New("exists already")
	// ErrConflict reports that others kept changing what a change had read, or
	// that a command does not fit the state a record is in.
	ErrConflict = errors.New("conflict")
	// ErrInvalid reports a name or a value that the catalog does not take.
	ErrInvalid = sites.ErrInvalid
	// ErrLocked reports that another process has the catalog's directory open.
	ErrLocked = errors.New("catalog is in use by another process")
	// ErrCorrupt reports that the catalog's files are damaged.
	ErrCorrupt = errors.New("catalog is damaged")
	// ErrBroken reports that the store met a fault, such as a failed fsync,
	// after which it acknowledges nothing until the process starts again; with ErrPassing,
	// until it has opened again by itself.
	ErrBroken = errors.New("catalog store has stopped")
	// ErrPassing reports that the fault is a want that passes.
	ErrPassing = errors.New("changes are refused until there are descriptors, memory and room on the disk again, then it opens by itself")
	// ErrNoMajority reports that too few of the proxies that share the catalog reach
	// one another for a change to be made.
	ErrNoMajority = errors.New("too few of the proxies that share the catalog reach one another: changes wait until more are there, traffic goes on (portico members names them)")
	// ErrNoAnswer reports that the store did not answer in time.
	ErrNoAnswer = errors.New("the catalog did not answer in time: its disk, or the network between the proxies that share it, is slow")
	// ErrLeaderChanged reports a change that went to a leader which died.
	ErrLeaderChanged = errors.New("the proxy that led the catalog went away meanwhile")
	// ErrUncertain reports a change of which it is not known whether it was stored: it
	// was sent, and no answer came. With every other error it was not.
	ErrUncertain = errors.New("the change may have been stored or not")
	// ErrRemoved reports that the other proxies took this one out of the catalog:
	// it was revoked, or another machine joined in its place.
	ErrRemoved = errors.New("this proxy was removed from the catalog")
	// ErrClosed reports use after Close.
	ErrClosed = errors.New("catalog is closed")
	// ErrWrongKey reports that a secret was sealed under another key.
	ErrWrongKey = errors.New("sealed under another key")
)

// Text returns the message of err for people: without the names of the errors above,
// by which programs tell what kind of refusal it is.
func Text(err error) string {
	if err == nil {
		return ""
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		for before := ""; line != before; { // one may stand behind another
			before = line
			for _, sentinel := range []error{ErrNotFound, ErrExists, ErrConflict, ErrInvalid} {
				name := sentinel.Error() + ": "
				line = strings.ReplaceAll(strings.TrimPrefix(line, name), ": "+name, ": ")
			}
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
