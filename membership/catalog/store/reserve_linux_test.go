package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestReserve: room for a start is kept while the store is open, takes up the disk, and is there again after each start.
func TestReserve(t *testing.T) {
	s := &Store{o: Options{Dir: t.TempDir()}}
	path := filepath.Join(s.o.Dir, reserveName)
	for range 2 {
		s.keepReserve()
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st, _ := fi.Sys().(*syscall.Stat_t); fi.Size() != reserveSize || st.Blocks*512 < reserveSize {
			t.Errorf("it has %d bytes in %d blocks", fi.Size(), st.Blocks)
		}
		s.spendReserve()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("after a start begins: %v", err)
		}
	}
}

// TestDatabaseHasItsRoom: no part of the file of records is only a promise of the disk's.
func TestDatabaseHasItsRoom(t *testing.T) {
	s := &Store{o: Options{Dir: t.TempDir()}, logger: slog.New(slog.DiscardHandler)}
	path := database(filepath.Join(s.o.Dir, "etcd"))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const size = 16 << 20
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	s.fillDatabase()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := fi.Sys().(*syscall.Stat_t); fi.Size() != size || st.Blocks*512 < size {
		t.Errorf("it has %d bytes in %d blocks", fi.Size(), st.Blocks)
	}
}
