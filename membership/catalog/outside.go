package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"portico/membership/catalog/memory"
	"portico/membership/catalog/store"
)

// secretCheck is a secret that nobody uses: it is there from the first moment on, so
// that two proxies with two keys never begin a cluster together.
const secretCheck = "check"

// memorable reports whether a key of an outside etcd is kept: what only those need who can reach the
// etcd is not.
func memorable(key string) bool {
	prefix, _ := splitKey(key)
	return prefix != preAudit && prefix != preGen && !store.Own(key)
}

// viewOf makes a view of what is remembered.
func (c *Catalog) viewOf(m *memory.Copy) (*View, error) {
	b := newBuilder(emptyView(), c.sealer)
	for _, it := range m.List("") {
		if err := b.put(it); err != nil {
			return nil, err
		}
	}
	return b.finish(m.Revision()), nil
}

// recall decides what to begin with where the etcd is an outside one: what it has
// just said, or what it said last.
func (c *Catalog) recall(ctx context.Context, view *View, err error) (*View, error) {
	remembered := memory.New(c.o.Dir, c.logger, memorable)
	found, lerr := remembered.Load()
	if lerr != nil {
		c.logger.Warn("what was remembered of the catalog cannot be read", "error", lerr)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !found:
		return nil, fmt.Errorf("%w, and nothing is remembered of it here: look whether catalog.endpoints and its certificates are right, and whether that etcd runs", err)
	case err != nil:
		c.stale.Store(true)
		c.logger.Warn("the catalog's etcd does not answer, serving the last known state", "error", err, "waited", bootWait)
		c.memory.Take(remembered)
		return c.viewOf(remembered)
	case found && view.ClusterID == "":
		return nil, fmt.Errorf("%w: the catalog's etcd has nothing under %q, and this proxy belongs to a cluster: restore that etcd, or remove %s to begin a new cluster", ErrConflict, c.o.Outside.Prefix, remembered.Path)
	case found:
		if last, verr := c.viewOf(remembered); verr == nil && last.ClusterID != view.ClusterID {
			return nil, fmt.Errorf("%w: the catalog's etcd holds cluster %s, and this proxy belongs to %s: name the right endpoints and prefix, or remove %s to change clusters", ErrConflict, view.ClusterID, last.ClusterID, remembered.Path)
		}
	}
	return view, nil
}

// otherHome refuses to begin anew elsewhere while the folder holds the catalog of a
// cluster: changing the setting does not move what is in it.
func otherHome(o Options) error {
	embedded, remembered := filepath.Join(o.Dir, "etcd"), filepath.Join(o.Dir, memory.File)
	there := func(path string) bool { _, err := os.Stat(path); return !errors.Is(err, fs.ErrNotExist) }
	switch {
	case o.Outside != nil && there(embedded) && !there(remembered):
		return fmt.Errorf("%w: %s is the embedded catalog of a cluster, which catalog.endpoints would leave behind: take the setting out, or move that folder away to begin with what the outside etcd holds", ErrConflict, embedded)
	case o.Outside == nil && there(remembered) && !there(embedded):
		return fmt.Errorf("%w: the catalog of this proxy lies in an outside etcd: set catalog.endpoints again, or remove %s to begin a new cluster", ErrConflict, remembered)
	}
	return nil
}

// wrongKey says which file to copy when the secrets of a cluster do not open.
func (c *Catalog) wrongKey(err error) error {
	if c.o.Outside == nil || !errors.Is(err, ErrWrongKey) {
		return err
	}
	return fmt.Errorf("%w: every proxy of a cluster needs the same identity/catalog.key: copy that of another proxy, mode 0600, over this proxy's, and start again (%s)",
		err, strings.Join(c.o.Outside.Endpoints, ", "))
}

// storedWait is how long a read of what is also remembered waits for the etcd.
const storedWait = 2 * time.Second

// stored reads a key of the storage, from memory while an outside etcd does not
// answer: a proxy that starts then has its certificates.
func (c *Catalog) stored(ctx context.Context, key string) (it store.Item, found bool, err error) {
	err = c.orRemembered(ctx, func(ctx context.Context) error {
		it, found, err = c.store.Load().Get(ctx, key, c.alone())
		return err
	}, func() { it, found = c.memory.Get(key) })
	return it, found, err
}

// storedUnder lists the keys of the storage under a prefix, likewise.
func (c *Catalog) storedUnder(ctx context.Context, prefix string) (items []store.Item, err error) {
	err = c.orRemembered(ctx, func(ctx context.Context) error {
		items, _, err = c.store.Load().List(ctx, prefix, true, c.alone())
		return err
	}, func() { items = c.memory.List(prefix) })
	return items, err
}

// alone reports whether this proxy has no majority to ask, and so only its own copy.
func (c *Catalog) alone() bool { return c.o.Outside == nil && !c.HasLeader() }

func (c *Catalog) orRemembered(ctx context.Context, ask func(context.Context) error, recall func()) error {
	if c.memory == nil {
		return ask(ctx)
	}
	if c.memory.Down() {
		recall()
		return nil
	}
	brief, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	err := ask(brief)
	if err != nil && ctx.Err() == nil && brief.Err() != nil {
		c.memory.Failed()
		recall()
		return nil
	}
	return err
}
