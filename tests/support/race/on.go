//go:build race

package race

// Enabled reports whether the race detector watches this program.
const Enabled = true
