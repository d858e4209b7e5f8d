//go:build !linux && !darwin

package unsent

// Told reports whether this system says what it holds.
const Told = false

// HeldFor does not tell.
func HeldFor(uintptr) int { return -1 }

func limitSocket(uintptr) {}
