package store

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
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
