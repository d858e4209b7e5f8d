package conn

import "portico/proxy/http1"

// NewPlain is New without raw system calls, as on platforms that have none.
func NewPlain(o http1.Options) (http1.Driver, error) { return newServer(o, false), nil }
