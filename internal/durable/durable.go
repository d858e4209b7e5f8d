// Package durable writes files that a crash leaves as they were or as they are to be, and never in between.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Temporary matches the names of files that are being written, and of those that a crash left behind.
const Temporary = ".write-*"

// WriteFile puts data at path, in a folder that it makes if there is none. It is there when WriteFile returns, also after a power cut.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err := Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return SyncDir(dir)
}

// Write puts at path what write writes, in a folder that is there: temporary file, fsync, rename. A power cut soon after
// may bring the former file back, which SyncDir prevents where the file system can.
func Write(path string, mode fs.FileMode, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), Temporary)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	err = write(f)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
