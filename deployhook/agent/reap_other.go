//go:build !linux

package agent

import "errors"

func userRuns(int) bool { return false }

func runReaper([]string, int, int) error { return errors.ErrUnsupported }
