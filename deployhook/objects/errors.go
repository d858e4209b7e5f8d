package objects

import (
	"errors"
	"fmt"
)

// The errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: the store does not hold the object.
	ErrNotFound = errors.New("object not found")
	// ErrCorrupt: content and digest disagree. The object has been removed, so
	// fetching it again heals the store.
	ErrCorrupt = errors.New("object is corrupt")
	// ErrDiskFull: the file system or the quota has no room left.
	ErrDiskFull = errors.New("disk is full")
	// ErrBadDigest: the text is not a digest, see ValidDigest.
	ErrBadDigest = errors.New("not a digest: 64 characters of lower-case hexadecimal are wanted")
)

// DiskFull reports whether err says that a file system has no room left.
func DiskFull(err error) bool {
	return errors.Is(err, ErrDiskFull) || diskFull(err)
}

// disk marks err as ErrDiskFull when it is one, so that callers far away need
// not know the operating system's numbers.
func disk(err error) error {
	if err != nil && diskFull(err) && !errors.Is(err, ErrDiskFull) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
