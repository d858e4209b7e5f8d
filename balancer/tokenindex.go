package balancer

import "portico/balancer/seal"

// tokenIndex finds the upstream of a token: a table with open addressing, at most half
// full, because a map's lookup costs every pinned visit four times as much. Tokens are
// random bits, so they are their own hash. It is immutable once filled.
type tokenIndex []tokenSlot

type tokenSlot struct {
	token seal.Token
	up    *Upstream // nil: free
}

// newTokenIndex returns an index with room for n tokens.
func newTokenIndex(n int) tokenIndex {
	size := 2
	for size < 2*n {
		size *= 2
	}
	return make(tokenIndex, size)
}

// place returns where a token is, or where it could be put.
func (x tokenIndex) place(t seal.Token) *tokenSlot {
	for i := uint64(t); ; i++ {
		if s := &x[i&uint64(len(x)-1)]; s.up == nil || s.token == t {
			return s
		}
	}
}

// add names an upstream, unless the token names another one.
func (x tokenIndex) add(t seal.Token, u *Upstream) {
	if s := x.place(t); s.up == nil {
		*s = tokenSlot{token: t, up: u}
	}
}

// find returns the upstream of a token, or nil.
func (x tokenIndex) find(t seal.Token) *Upstream {
	if len(x) == 0 {
		return nil
	}
	return x.place(t).up
}
