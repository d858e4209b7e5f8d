package exchange

import (
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// Config is what exchanges share.
type Config struct {
	Handler  Handler
	Limits   http1.Limits
	Timeouts wire.Timeouts
}

// WithDefaults returns c with every zero limit and timeout set.
func (c Config) WithDefaults() Config {
	c.Limits, c.Timeouts = c.Limits.WithDefaults(), c.Timeouts.WithDefaults()
	return c
}
