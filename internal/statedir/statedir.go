// Package statedir is what every process finds in its state folder and leaves there for the next: files that are whole or not
// there, marks by which one process tells another something, and the access for commands on this machine.
package statedir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"portico/internal/durable"
)

// Make makes the folder of all state. Site processes of other accounts
// pass through it on an application server, so it is no more than that for
// them: everything secret lies in folders of mode 0700.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("make the state folder: %w: give another with --dir", err)
	}
	return nil
}

// WriteKey writes a key, in a folder that only its owner can look into.
func WriteKey(path string, key []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return WriteSecret(path, string(key))
}

// WriteWhole writes a file that is there whole or not at all, readable by its
// owner alone.
func WriteWhole(path string, write func(io.Writer) error) error {
	if err := durable.Write(path, write); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteSecret replaces a file as a whole, readable by its owner alone.
func WriteSecret(path, text string) error {
	return WriteWhole(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}
