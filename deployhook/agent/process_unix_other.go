//go:build unix && !linux && !darwin

package agent

import "syscall"

// canAdopt: an agent finds the processes of the one before it.
const canAdopt = false

// processMark knows no way to tell a process from a later one here, so nothing
// is adopted: sites start anew with the agent.
func processMark(int) (string, bool) { return "", false }

func processAlive(int, string) bool { return false }

func instanceProcesses(func(id, data string) bool) []int { return nil }

func ownMounts(*syscall.SysProcAttr) {}

func processSession(int) int { return 0 }

func intoGroup(*syscall.SysProcAttr, int) {}
