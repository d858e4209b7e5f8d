package account_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"portico/proxy/exchange/account"
)

// TestAppendID compares what is written by hand with what the standard library writes.
func TestAppendID(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200000 {
		n := r.Uint64() >> r.IntN(64)
		if got, want := string(account.AppendID(nil, n)), fmt.Sprintf("%016x", n); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}
