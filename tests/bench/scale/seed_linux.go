package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// visited is how many sites with instances there are in the file, for visitors, where the others lie in the catalog.
const visited = 10

// seed makes a catalog with many sites before the proxy has one: as deploys would, but for the deploys.
func (d *door) seed() error {
	dir := filepath.Join(d.c.Dir, "proxy-1")
	key, err := catalog.LoadKey(filepath.Join(dir, "identity", "catalog.key"))
	if err != nil {
		return err
	}
	c, err := catalog.Open(d.ctx, catalog.Options{Dir: filepath.Join(dir, "catalog"), Name: "proxy-1", Key: key})
	if err != nil {
		return err
	}
	for from := 0; err == nil && from < d.b.sites; from += 100 {
		_, err = c.Update(d.ctx, func(tx *catalog.Tx) error {
			for i := from; i < min(from+100, d.b.sites); i++ {
				if err := putSite(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	return err
}

func seeded(site int) string { return fmt.Sprintf("seeded%d", site) }

func putSite(tx *catalog.Tx, site int) error {
	name := seeded(site)
	digest := fmt.Sprintf("%064x", site)
	manifest := sites.Settings{Front: sites.Front{Hosts: []string{name + ".test"}}}
	now := time.Now().UTC()
	err := tx.PutRelease(catalog.Release{Site: name, Digest: digest, Archive: name + ".zip", Size: 1 << 20, Files: 10, Manifest: manifest, Created: now, By: "bench", Proxy: "proxy-1"})
	if err != nil {
		return err
	}
	return tx.PutSite(catalog.Site{Name: name, Owner: "bench", Manifest: manifest, Release: digest, Created: now, Updated: now})
}

// setSite changes one of the catalog's sites as an operator would. The answer comes when it is served.
func (d *door) setSite() error {
	api, err := d.api()
	if err != nil {
		return err
	}
	d.sets++
	policy := []string{"round-robin", "least-sessions"}[d.sets%2]
	ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
	defer cancel()
	_, err = api.SetSite(ctx, seeded(d.sets%d.b.sites), json.RawMessage(fmt.Sprintf(`{"policy":%q}`, policy)))
	return err
}
