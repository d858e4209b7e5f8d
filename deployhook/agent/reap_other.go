//go:build !linux

package agent

import "errors"

func userRuns(int) bool { return false }

func runReaper([]string, int, int) error { return errors.ErrUnsupported }

// mayCover is for systems with mount namespaces.
func mayCover() bool { return false }
