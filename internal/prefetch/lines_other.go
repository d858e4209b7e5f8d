//go:build !amd64 && !arm64

package prefetch

// Lines does nothing: this processor is given no hints.
func Lines(uintptr, int) {}
