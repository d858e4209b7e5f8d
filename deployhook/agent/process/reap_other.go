//go:build !linux

package process

import "errors"

// UserRuns knows of no process here.
func UserRuns(int) bool { return false }

// Reap has no use here: sites have no users of their own.
func Reap([]string, int, int) error { return errors.ErrUnsupported }

// MayCover is for systems with mount namespaces.
func MayCover() bool { return false }
