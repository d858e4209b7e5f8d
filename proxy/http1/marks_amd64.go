package http1

// marks looks at 64 bytes: bit i of colons says that byte i is a colon, bit i of odd that it is a control character, HTAB included.
// Sixteen bytes at a time (SSE2, which every amd64 processor has).
//
//go:noescape
func marks(b *[64]byte) (colons, odd uint64)
