package seal_test

import (
	"testing"

	"portico/balancer/seal"
	"portico/tests/support/seals"
)

func BenchmarkOpen(b *testing.B) {
	s := mustSealer(b, "shop", vectorKeys())
	value := s.Seal(nil, seal.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000})
	b.ReportAllocs()
	for b.Loop() {
		if _, refused := seals.Open(s, value); refused != seal.Honoured {
			b.Fatal(refused)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s := mustSealer(b, "shop", vectorKeys())
	buf := make([]byte, 0, seal.MaxCookieLen)
	c := seal.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000}
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Seal(buf[:0], c)
	}
}
