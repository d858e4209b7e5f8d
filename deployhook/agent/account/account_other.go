//go:build !linux

package account

import "os"

// IsRoot reports whether processes can be started as other accounts; never on
// Windows, where Geteuid is -1.
func IsRoot() bool { return os.Geteuid() == 0 }

func RootInName() bool { return false }

func available() (Range, error) { return sharedIDs, nil }
