//go:build !linux

package objects

// flushMany makes many files or folders below dir durable.
func flushMany(open opener, _ string, files []string) error { return flushEach(open, files) }
