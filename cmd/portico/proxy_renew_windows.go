package main

import (
	"log/slog"

	"portico/proxy/process"
)

// renewOnSignal does nothing: Windows has no signal for it, and no take-over.
func renewOnSignal(*process.Proxy, *slog.Logger) (stop func()) { return func() {} }
