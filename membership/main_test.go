package membership_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Serf and memberlist do not wait for their goroutines at Shutdown. Most end at
// once; those in the middle of asking another member stay until their own
// timeout, five seconds at most: a probe, an exchange of state, a reconnect, a
// rejoin. Everything of ours must be gone.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPullNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*Serf).handleRejoin"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*Serf).reconnect"),
	)
}
