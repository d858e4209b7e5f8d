package conn

import "portico/proxy/exchange"

// NewPlain is New without raw system calls, as on platforms that have none.
func NewPlain(o exchange.Options) (exchange.Driver, error) { return newServer(o, false), nil }
