package agent_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
)

// secret is in every canary that a site may not read.
const secret = "this is not the site's"

// canary is a folder of somebody else's, full of what an agent that is root could
// be led to: whatever is done to it shows.
type canary struct {
	dir    string
	before string
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "canary")
	for _, sub := range []string{"", "shadow", "shadow/x", "closed", "x", "x.tmp", "a", "a/b"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{
		"secret": 0o600, "shadow/x/secret": 0o640, "closed/secret": 0o600, "x/secret": 0o400, "x.tmp/secret": 0o600, "a/b/secret": 0o600,
		// A file that all may write is one that a site can link to in any case.
		"common": 0o666,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(secret), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &canary{dir: dir}
	c.before = c.look(t)
	t.Cleanup(func() { c.unharmed(t) })
	return c
}

// look describes all that is there: kind, mode, owner, names and content.
func (c *canary) look(t *testing.T) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %v %d:%d", name, fi.Mode(), st.Uid, st.Gid)
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line += " " + string(b)
		}
		list = append(list, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(list)
	return strings.Join(list, "\n")
}

func (c *canary) unharmed(t *testing.T) {
	t.Helper()
	if now := c.look(t); now != c.before {
		t.Errorf("what is another's has changed; before:\n%s\nnow:\n%s", c.before, now)
	}
}
