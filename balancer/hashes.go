package balancer

import (
	"hash/maphash"

	"portico/balancer/sessions"
)

// Hash is the hash by which the policies source, header and uri go. It is the
// same on every proxy and after every start, and never 0.
func Hash(b []byte) uint64 {
	h := uint64(14695981039346656037) // FNV-1a, then mixed
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return sessions.Mix(h^h>>29) | 1
}

// HashVisitor hashes a client's address and user agent for Request.Visitor. Its
// key is of this process, so that nobody can aim at a place in a table.
func (b *Balancer) HashVisitor(addr, agent []byte) uint64 {
	return (maphash.Bytes(b.seed, addr) ^ sessions.Mix(maphash.Bytes(b.seed, agent))) | 1
}
