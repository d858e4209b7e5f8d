package deployhook

import (
	"context"
	"errors"
	"time"

	"portico/deployhook/objects"
	"portico/membership/catalog/ids"
)

// collectEvery is how often objects that no release refers to are looked for.
const collectEvery = time.Hour

// collect removes unreferenced objects on a timer.
func (d *Deployer) collect() {
	timer := time.NewTimer(collectEvery)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-timer.C:
		}
		if n, bytes, err := d.Collect(d.ctx); err != nil && d.ctx.Err() == nil {
			d.logger.Warn("objects not collected", "error", err)
		} else if n > 0 {
			d.logger.Info("objects collected", "objects", n, "bytes", bytes)
		}
		timer.Reset(collectEvery)
	}
}

// Collect removes the objects that no release in the catalog refers to and that
// are older than the grace time.
func (d *Deployer) Collect(ctx context.Context) (removed int, freed int64, err error) {
	keep, err := d.referenced()
	if err != nil {
		return 0, 0, err
	}
	return d.o.Objects.GC(ctx, func(digest string) bool { return keep[digest] }, d.o.grace)
}

// referenced returns every object of every release. A tree that cannot be read
// for another reason than being gone stops the collection: better a full disk
// than a lost release.
func (d *Deployer) referenced() (map[string]bool, error) {
	keep := map[string]bool{}
	for _, releases := range d.o.Catalog.View().Releases {
		for id := range releases {
			digest := ids.FilesOf(id)
			keep[digest] = true
			tree, err := d.o.Objects.Tree(digest, objects.TreeLimits())
			if errors.Is(err, objects.ErrNotFound) {
				continue // another proxy took that upload
			}
			if err != nil {
				return nil, err
			}
			for _, f := range tree.Files {
				keep[f.Digest] = true
			}
		}
	}
	return keep, nil
}
