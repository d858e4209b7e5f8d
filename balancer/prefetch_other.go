//go:build !amd64 && !arm64

package balancer

// prefetch does nothing: this processor is given no hints.
func prefetch(uintptr) {}
