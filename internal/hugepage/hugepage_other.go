//go:build !linux

package hugepage

// Advise does nothing: this system chooses its pages by itself.
func Advise([]byte) {}
