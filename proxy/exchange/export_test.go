package exchange

import "portico/proxy/exchange/account"

// Why is why OpAbort is returned.
func (x *Exchange) Why() account.Cause { return x.why }

// Active reports whether a request is being served, or its tunnel.
func (x *Exchange) Active() bool { return x.phase == phaseActive }
