//go:build amd64 || arm64

package balancer

// prefetch asks the processor to fetch the three cache lines from an address on, and
// does not wait for them. Nine in ten entries lie in the first two. Any address is harmless: it is a hint, not an access.
//
//go:noescape
func prefetch(address uintptr)
