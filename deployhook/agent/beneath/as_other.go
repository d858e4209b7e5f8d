//go:build !linux

package beneath

// As runs look. Threads have no accounts of their own here.
func As(_, _ int, look func() error) error { return look() }
