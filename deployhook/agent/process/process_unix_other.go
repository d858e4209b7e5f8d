//go:build unix && !linux && !darwin

package process

import "syscall"

// CanAdopt: an agent finds the processes of the one before it.
const CanAdopt = false

// markOf knows no way to tell a process from a later one here, so nothing
// is adopted: sites start anew with the agent.
func markOf(int) (string, bool) { return "", false }

func alive(int, string) bool { return false }

// Instances finds nothing: nothing is adopted here.
func Instances(func(id, data string) bool) []int { return nil }

func ownMounts(*syscall.SysProcAttr) {}

func sessionOf(int) int { return 0 }

func intoGroup(*syscall.SysProcAttr, int) {}
