//go:build !linux

package agent_test

// swapMain is of use where agents give sites accounts of their own in tests: on Linux.
func swapMain(string) int { return 2 }
