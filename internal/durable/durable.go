// Package durable writes files that a crash leaves as they were or as they are to be, and never in between. Only their owner may
// read them, and their folders are there.
package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Temporary matches the names of files that are being written, and of those that a crash left behind.
const Temporary = ".write-*"

// WriteFile puts data at path. It is there when WriteFile returns, also after a power cut.
func WriteFile(path string, data []byte) error {
	err := Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Write puts at path what write writes: temporary file, fsync, rename. A power cut soon after may bring the former file back, which
// SyncDir prevents where the file system can.
func Write(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), Temporary)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
