package appserver_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Close and the end of Run leave nothing running, but for what serf and memberlist do not wait for: see the tests of package membership.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPullNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*Serf).handleRejoin"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*Serf).reconnect"),
	)
}
