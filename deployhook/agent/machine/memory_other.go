//go:build !linux

package machine

import "portico/membership/catalog/messages"

// Memory is not known here.
func Memory() messages.MemoryReport { return messages.MemoryReport{} }
