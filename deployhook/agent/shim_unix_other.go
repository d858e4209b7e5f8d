//go:build unix && !linux

package agent

// rlimitProcesses is RLIMIT_NPROC, which the syscall package does not name on
// the BSDs and macOS.
const rlimitProcesses = 7

func (s shimSpec) applySystem() error { return nil }

// ownTasks is not known here; the limit then counts from zero, and the site
// gets a little less.
func ownTasks() uint64 { return 0 }
