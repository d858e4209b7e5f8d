package deployhook

import (
	"context"
	"maps"
	"time"

	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

const (
	// mirrorPause lets an upload spread to the application servers first, which
	// are what the deploy waits for.
	mirrorPause = 2 * time.Second
	// mirrorAgain is the pause before what could not be fetched is tried again.
	mirrorAgain = 30 * time.Second
	// mirrorTime bounds the fetching of one release.
	mirrorTime = 30 * time.Minute
)

// mirror fetches the files of releases that other proxies took, so that the loss of
// one proxy loses none.
func (d *Deployer) mirror() {
	changed, unsubscribe := d.o.Catalog.Subscribe()
	defer unsubscribe()
	again := time.NewTimer(mirrorPause)
	defer again.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-changed:
		case <-again.C:
		}
		if pause.For(d.ctx, mirrorPause) != nil {
			return
		}
		if !d.mirrorAll() {
			again.Reset(mirrorAgain)
		}
	}
}

// mirrorAll fetches what this proxy lacks, and reports whether it has everything.
func (d *Deployer) mirrorAll() bool {
	v := d.o.Catalog.View()
	sources := d.proxySources(v)
	if len(sources) == 0 {
		return true
	}
	maps.DeleteFunc(d.mirrored, func(digest string, _ bool) bool { return !known(v, digest) })
	whole := true
	for site, releases := range v.Releases {
		for id := range releases {
			digest := ids.FilesOf(id)
			if d.mirrored[digest] {
				continue
			}
			if err := d.mirrorOne(sources, digest); err != nil {
				if d.ctx.Err() != nil {
					return false
				}
				whole = false
				d.logger.Debug("release not fetched from other proxies", "site", site, "release", digest, "error", err)
				continue
			}
			d.mirrored[digest] = true
		}
	}
	return whole
}

// known reports whether some site has a release of these files.
func known(v *catalog.View, digest string) bool {
	for _, releases := range v.Releases {
		for id := range releases {
			if ids.FilesOf(id) == digest {
				return true
			}
		}
	}
	return false
}

// mirrorOne fetches what is missing of one release.
func (d *Deployer) mirrorOne(sources []objects.Source, digest string) error {
	ctx, cancel := context.WithTimeout(d.ctx, mirrorTime)
	defer cancel()
	f := objects.Fetcher{Store: d.o.Objects, Sources: sources, Logger: d.logger, Parallel: 1}
	_, err := f.Release(ctx, digest, nil)
	return err
}

// proxySources are the other proxies as holders of objects.
func (d *Deployer) proxySources(v *catalog.View) []objects.Source {
	var list []objects.Source
	for _, m := range d.otherProxies(v) {
		client, base, err := d.o.Peer(m)
		if err != nil {
			continue
		}
		list = append(list, objects.Source{Name: m.Name, URL: base, Client: client})
	}
	return list
}
