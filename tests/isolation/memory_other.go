//go:build !linux

package isolation

// abortedForMemory: only Linux counts what it resets for want of memory.
func abortedForMemory() int64 { return 0 }
