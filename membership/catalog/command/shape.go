package command

import (
	"fmt"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// nameRelease gives a release that is to be deployed its id: that of the same files with the same shape, the
// digest of the files where there are none, else one with the site's next number. What ran before this
// was known is given what operators have set now, with which it runs.
func nameRelease(tx *catalog.Tx, r *catalog.Release, site *catalog.Site, now time.Time) error {
	known := tx.Releases(site.Name)
	for i := range known {
		if old := &known[i]; old.Override == nil {
			old.Override = sites.StoredOverride(site.Override)
			if err := tx.PutRelease(*old); err != nil {
				return err
			}
		}
	}
	mine, err := sites.Join(r.Manifest, r.Override)
	if err != nil {
		return err
	}
	files, taken := ids.FilesOf(r.Digest), false
	for _, old := range known {
		if ids.FilesOf(old.Digest) != files {
			continue
		}
		theirs, err := sites.Join(old.Manifest, old.Override)
		if err == nil && theirs.SameShape(mine) {
			r.Digest, r.Created = old.Digest, old.Created
			return nil
		}
		taken = true
	}
	r.Digest = files
	if taken {
		site.Shapes++
		r.Created = now.UTC()
		r.Digest = fmt.Sprintf("%s-%d", files, site.Shapes)
	}
	return nil
}
