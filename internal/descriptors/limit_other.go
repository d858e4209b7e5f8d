//go:build !unix

package descriptors

import "math"

// openLimit is no limit: handles are given out as long as there is memory, and their numbers say nothing.
func openLimit() uint64 { return math.MaxUint64 }

// openSpare opens nothing, as there is always room.
func openSpare() (uintptr, error) { return 0, nil }

func closeSpare(uintptr) {}
