//go:build !linux

package loop

import "portico/proxy/exchange"

// Supported reports whether New works on this system.
const Supported = false

// New returns ErrUnsupported.
func New(exchange.Options) (exchange.Driver, error) { return nil, ErrUnsupported }
