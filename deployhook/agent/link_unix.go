//go:build unix

package agent

import "os"

func linkFolder(root *os.Root, target, name string) error { return root.Symlink(target, name) }
