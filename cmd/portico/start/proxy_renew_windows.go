package start

import (
	"log/slog"

	"portico/proxy/frontdoor"
)

// renewOnSignal does nothing: Windows has no signal for it, and no take-over.
func renewOnSignal(*frontdoor.Proxy, *slog.Logger) (stop func()) { return func() {} }
