//go:build !linux

package agent

import "os"

// isRoot reports whether processes can be started as other accounts; never on
// Windows, where Geteuid is -1.
func isRoot() bool { return os.Geteuid() == 0 }

func rootInName() bool { return false }

func availableIDs() (IDRange, error) { return sharedIDs, nil }

// mayCover is for systems with mount namespaces.
func mayCover() bool { return false }
