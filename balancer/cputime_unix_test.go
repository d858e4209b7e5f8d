//go:build unix

package balancer_test

import "syscall"

// cpuTime returns the time that the process has used of the processors, in nanoseconds.
func cpuTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
