//go:build !linux

package machine

import "portico/membership/catalog"

// Memory is not known here.
func Memory() catalog.MemoryReport { return catalog.MemoryReport{} }
