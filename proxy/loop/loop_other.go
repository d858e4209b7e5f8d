//go:build !linux

package loop

import "portico/proxy/http1"

// Supported reports whether New works on this system.
const Supported = false

// New returns ErrUnsupported.
func New(http1.Options) (http1.Driver, error) { return nil, ErrUnsupported }
