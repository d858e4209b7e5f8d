//go:build !race

// Package race tells tests whether the race detector watches them: it allocates,
// and it makes large amounts of work take minutes. A test that does less with it
// is named in the Makefile, which runs it once more without.
package race

// Enabled reports whether the race detector watches this program.
const Enabled = false
