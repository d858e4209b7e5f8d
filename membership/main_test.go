package membership_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Serf and memberlist do not wait for their goroutines at Shutdown; they end
// within a tick of their own, which goleak's patience covers. Serf's two that
// can stay longer are a reconnect and a rejoin in the middle of a dial.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*Serf).handleRejoin"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*Serf).reconnect"),
	)
}
