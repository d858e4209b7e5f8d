//go:build !linux

package agent

import "portico/membership/catalog"

// memoryRoom is not known here.
func memoryRoom() catalog.MemoryReport { return catalog.MemoryReport{} }
