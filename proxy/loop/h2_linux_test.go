package loop_test

import (
	"testing"

	"portico/proxy/http1"
	"portico/proxy/http1/http1test"
	"portico/proxy/loop"
)

// TestStreams: what a driver does with streams, whichever way the loop's sends go.
func TestStreams(t *testing.T) {
	for name, mk := range map[string]http1test.New{
		"one loop":    loops(1),
		"three loops": loops(3),
		"without ring": func(o http1.Options) (http1.Driver, error) {
			o.Loops, o.NoRing = 1, true
			return loop.New(o)
		},
		"broken ring": func(o http1.Options) (http1.Driver, error) {
			o.Loops = 1
			return loop.NewBrokenRing(o)
		},
		"eager": func(o http1.Options) (http1.Driver, error) {
			o.Loops = 1
			return loop.NewEager(o)
		},
	} {
		t.Run(name, func(t *testing.T) { http1test.RunH2(t, mk) })
	}
}
