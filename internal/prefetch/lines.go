//go:build amd64 || arm64

package prefetch

// Lines asks the processor to fetch n cache lines of 64 bytes from an address on, at least one,
// and does not wait for them. Any address is harmless: it is a hint, not an access.
//
//go:noescape
func Lines(address uintptr, n int)
