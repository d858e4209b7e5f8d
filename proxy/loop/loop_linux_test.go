package loop_test

import (
	"testing"

	"go.uber.org/goleak"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest"
	"portico/proxy/exchange/exchangetest/origins"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loops(n int) rig.Maker {
	return func(o exchange.Options) (exchange.Driver, error) {
		o.Loops = n
		return loop.New(o)
	}
}

func TestOneLoop(t *testing.T) { exchangetest.Run(t, loops(1)) }

func TestThreeLoops(t *testing.T) { exchangetest.Run(t, loops(3)) }

// TestWithoutRing: each send is a system call of its own, as where io_uring is forbidden.
func TestWithoutRing(t *testing.T) {
	exchangetest.Run(t, func(o exchange.Options) (exchange.Driver, error) {
		o.Loops, o.NoRing = 1, true
		return loop.New(o)
	})
}

// TestBrokenRing: what the ring does not take is sent without it, and so is all that follows.
func TestBrokenRing(t *testing.T) {
	exchangetest.Run(t, func(o exchange.Options) (exchange.Driver, error) {
		o.Loops = 1
		return loop.NewBrokenRing(o)
	})
}

// TestEager: every read and write goes through the ring that can.
func TestEager(t *testing.T) {
	exchangetest.Run(t, func(o exchange.Options) (exchange.Driver, error) {
		o.Loops = 1
		return loop.NewEager(o)
	})
}

func TestOrigins(t *testing.T) { origins.Run(t, loops(1)) }

// TestOriginsEager: the ring is used for all that it can do.
func TestOriginsEager(t *testing.T) {
	origins.Run(t, func(o exchange.Options) (exchange.Driver, error) {
		o.Loops = 1
		return loop.NewEager(o)
	})
}
