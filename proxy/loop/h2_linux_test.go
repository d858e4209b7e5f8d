package loop_test

import (
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/streams"
	"portico/proxy/loop"
)

// TestStreams: what a driver does with streams, whichever way the loop's sends go.
func TestStreams(t *testing.T) {
	for name, mk := range map[string]rig.Maker{
		"one loop":    loops(1),
		"three loops": loops(3),
		"without ring": func(o exchange.Options) (exchange.Driver, error) {
			o.Loops, o.NoRing = 1, true
			return loop.New(o)
		},
		"broken ring": func(o exchange.Options) (exchange.Driver, error) {
			o.Loops = 1
			return loop.NewBrokenRing(o)
		},
		"eager": func(o exchange.Options) (exchange.Driver, error) {
			o.Loops = 1
			return loop.NewEager(o)
		},
	} {
		t.Run(name, func(t *testing.T) { streams.Run(t, mk) })
	}
}
