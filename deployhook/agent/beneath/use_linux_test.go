package beneath_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"portico/deployhook/agent/beneath"
)

func never() error { return nil }

// TestUse: a count follows no links, takes holes for nothing and what is reserved
// beyond a file's end for what it is, and counts a file with two names once. A file without a name is not seen.
func TestUse(t *testing.T) {
	top, other := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(other, "large"), make([]byte, 8<<20), 0o600))
	must(os.MkdirAll(in("a/b"), 0o700))
	must(os.Symlink(other, in("a/link")))
	must(os.Symlink("..", in("a/b/up")))
	must(os.WriteFile(in("a/b/file"), make([]byte, 1<<20), 0o600))
	must(os.Link(in("a/b/file"), in("again")))
	hole, err := os.Create(in("hole"))
	must(err)
	must(hole.Truncate(1 << 40))
	must(unix.Fallocate(int(hole.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 2<<20))
	must(hole.Close())
	must(unix.Mkfifo(in("pipe"), 0o600))
	gone, err := os.Create(in("gone"))
	must(err)
	defer gone.Close()
	must(unix.Fallocate(int(gone.Fd()), 0, 0, 8<<20))
	must(os.Remove(in("gone")))

	d, err := beneath.Open(top)
	must(err)
	defer d.Close()
	use, err := d.Use(d.Device(), never)
	must(err)
	if use.Names != 8 {
		t.Errorf("%d names, want 8", use.Names)
	}
	if most := int64(3<<20 + 64<<10); use.Bytes < 3<<20 || use.Bytes > most || use.Here != use.Bytes {
		t.Errorf("%+v, want 3 MiB and a little", use)
	}
	if use, _ := d.Use(d.Device()+1, never); use.Here != 0 {
		t.Errorf("%d bytes on a file system that is not this one", use.Here)
	}
	stop := errors.New("stop")
	if _, err := d.Use(0, func() error { return stop }); !errors.Is(err, stop) {
		t.Errorf("pace's error: %v", err)
	}
}

// TestUseOfDeepFolders: folders in one another are counted with few descriptors
// however deep they are, up to a depth that nobody means; empty files count for their inodes.
func TestUseOfDeepFolders(t *testing.T) {
	for _, tt := range []struct {
		depth int
		err   error
	}{{300, nil}, {4200, beneath.ErrDeep}} {
		t.Run(strconv.Itoa(tt.depth), func(t *testing.T) {
			top := t.TempDir()
			at, err := os.OpenRoot(top)
			if err != nil {
				t.Fatal(err)
			}
			for range tt.depth {
				if err := at.Mkdir("d", 0o700); err != nil {
					t.Fatal(err)
				}
				next, err := at.OpenRoot("d")
				_ = at.Close()
				if err != nil {
					t.Fatal(err)
				}
				at = next
			}
			_ = at.Close()
			d, err := beneath.Open(filepath.Dir(top))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := d.RemoveAll(filepath.Base(top)); err != nil {
					t.Error(err)
				}
				_ = d.Close()
			})
			site, err := beneath.Open(top)
			if err != nil {
				t.Fatal(err)
			}
			defer site.Close()
			use, err := site.Use(0, never)
			if !errors.Is(err, tt.err) || err == nil && (use.Names != int64(tt.depth) || use.Bytes < int64(tt.depth)<<10) {
				t.Errorf("%+v, %v", use, err)
			}
		})
	}
}
