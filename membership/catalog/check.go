package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// checkFiles walks the database before the server opens it. A damaged page makes
// the server panic in goroutines of its own, where nobody can catch it; here the
// same damage is an error. A directory without a database is fine.
func checkFiles(data string) (err error) {
	path := filepath.Join(data, "member", "snap", "db")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// A file that is shorter than its pages say faults on access to the mapping.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read %s: %v", path, p)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { _ = db.Close() }()
	return db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("read %s: %d bytes are missing at its end", path, tx.Size()-info.Size())
		}
		sum := byte(0)
		err := tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				for _, c := range v {
					sum ^= c // touch every page
				}
				return nil
			})
		})
		_ = sum
		return err
	})
}
