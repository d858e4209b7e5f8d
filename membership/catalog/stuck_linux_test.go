package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"portico/membership/catalog"
	"portico/membership/catalog/store"
)

func init() { jobs["stuck"] = helpStuck }

// TestStuckCatalogIsNotSuspended: a store that a fault keeps from its end keeps its lock. There is nothing to resume then, and the
// catalog goes on with its view. It is another process's, because such a store stays for as long as its process.
func TestStuckCatalogIsNotSuspended(t *testing.T) {
	c := startChild(t, "stuck", t.TempDir())
	for _, want := range []string{"open", "broken true", "stuck true", "resumed <nil>", "stuck true", "view true true"} {
		if got := c.line(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

// helpStuck takes the log away from under the server.
func helpStuck(c *catalog.Catalog, _ string) int {
	put := func(name string) error {
		_, err := c.Update(context.Background(), func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: name}) })
		return err
	}
	if err := errors.Join(put("a"), loseLogs()); err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("broken", errors.Is(put("b"), catalog.ErrBroken))
	fmt.Println("stuck", errors.Is(c.Suspend(), store.ErrStuck))
	fmt.Println("resumed", c.Resume(context.Background()))
	fmt.Println("stuck", errors.Is(c.Suspend(), store.ErrStuck))
	fmt.Println("view", c.View().Sites["a"] != nil, errors.Is(c.Err(), catalog.ErrBroken))
	return 0
}

// loseLogs puts something that cannot be written in the place of every log file that this process has open.
func loseLogs() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	open, err := os.ReadDir("/proc/self/fd")
	for _, e := range open {
		path, gone := os.Readlink("/proc/self/fd/" + e.Name())
		if fd, bad := strconv.Atoi(e.Name()); gone == nil && bad == nil && filepath.Ext(path) == ".wal" {
			err = errors.Join(err, unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC))
		}
	}
	return err
}
