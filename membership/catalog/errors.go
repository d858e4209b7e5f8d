package catalog

import (
	"errors"
	"strings"

	"portico/conf/sites"
	"portico/membership/catalog/store"
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
	// ErrWrongKey reports that a secret was sealed under another key.
	ErrWrongKey = errors.New("sealed under another key")
)

// Errors of the store below.
var (
	ErrLocked        = store.ErrLocked        // another process has the catalog's directory open
	ErrCorrupt       = store.ErrCorrupt       // the catalog's files are damaged
	ErrBroken        = store.ErrBroken        // a fault after which changes are refused until the process starts again; with ErrPassing, until it opens again by itself
	ErrPassing       = store.ErrPassing       // the fault is a want that passes
	ErrNoMajority    = store.ErrNoMajority    // too few of the proxies that share the catalog reach one another
	ErrNoAnswer      = store.ErrNoAnswer      // the store did not answer in time
	ErrLeaderChanged = store.ErrLeaderChanged // the change went to a leader which died
	ErrUncertain     = store.ErrUncertain     // the change was sent, and no answer came; with every other error it was not stored
	ErrRemoved       = store.ErrRemoved       // the other proxies took this one out of the catalog
	ErrClosed        = store.ErrClosed        // used after Close
	ErrAlone         = store.ErrAlone         // this needs Options.Peers
	ErrOutside       = store.ErrOutside       // all proxies use an outside etcd
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
