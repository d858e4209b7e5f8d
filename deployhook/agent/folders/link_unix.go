//go:build unix

package folders

import "os"

func linkFolder(root *os.Root, target, name string) error { return root.Symlink(target, name) }
