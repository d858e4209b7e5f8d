// Package lookup finds by the token in a visitor's cookie the upstream that it names, or what is
// remembered of one that has left. It does not know what an upstream is, nor what the visitor of one that has left is told.
package lookup

import "portico/balancer/seal"

// Index finds the upstream of a token: a table with open addressing, at most half
// full, because a map's lookup costs every pinned visit four times as much. Tokens are
// random bits, so they are their own hash. It is immutable once filled.
type Index[U comparable] []slot[U]

type slot[U comparable] struct {
	token seal.Token
	up    U // the zero value: free
}

// NewIndex returns an index with room for n tokens.
func NewIndex[U comparable](n int) Index[U] {
	size := 2
	for size < 2*n {
		size *= 2
	}
	return make(Index[U], size)
}

// place returns where a token is, or where it could be put.
func (x Index[U]) place(t seal.Token) *slot[U] {
	var none U
	for i := uint64(t); ; i++ {
		if s := &x[i&uint64(len(x)-1)]; s.up == none || s.token == t {
			return s
		}
	}
}

// Add names an upstream, unless the token names another one.
func (x Index[U]) Add(t seal.Token, up U) {
	var none U
	if s := x.place(t); s.up == none {
		*s = slot[U]{token: t, up: up}
	}
}

// Find returns the upstream of a token, or none.
func (x Index[U]) Find(t seal.Token) (up U) {
	if len(x) == 0 {
		return up
	}
	return x.place(t).up
}
