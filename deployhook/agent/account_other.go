//go:build !linux

package agent

import "os"

// isRoot reports whether processes can be started as other accounts; never on
// Windows, where Geteuid is -1.
func isRoot() bool { return os.Geteuid() == 0 }

func availableIDs(want IDRange) (IDRange, error) {
	if want.Count > 0 {
		return want, nil
	}
	return sharedIDs, nil
}
