package folders

import (
	"fmt"
	"path/filepath"
	"strings"

	"portico/deployhook/agent/account"
	"portico/deployhook/objects"
)

// Site are the folders of one site: DIR/sites/SITE.
type Site struct{ Root string }

// Of returns the folders of a site below a state directory.
func Of(dir, site string) Site { return Site{Root: filepath.Join(dir, "sites", site)} }

// Releases holds the releases that are installed.
func (d Site) Releases() string { return filepath.Join(d.Root, "releases") }

// Release is the folder of one release.
func (d Site) Release(id string) string { return filepath.Join(d.Root, "releases", id) }

// Data holds the data folders, which outlive releases.
func (d Site) Data() string { return filepath.Join(d.Root, "data") }

// Home is the home of the site's processes.
func (d Site) Home() string { return filepath.Join(d.Root, "home") }

// Tmp is for their temporary files.
func (d Site) Tmp() string { return filepath.Join(d.Root, "tmp") }

// Tomcats holds a folder for each Tomcat of the site's own.
func (d Site) Tomcats() string { return filepath.Join(d.Root, "tomcat") }

// Logs holds the logs of instances and commands.
func (d Site) Logs() string { return filepath.Join(d.Root, "log") }

// SafeName refuses what must never become part of a path here. The catalog is
// stricter; this does not rely on it.
func SafeName(site string) error {
	if site == "" || site == "." || site == ".." || len(site) > 128 || strings.ContainsAny(site, "/\\:\x00") || !filepath.IsLocal(site) {
		return fmt.Errorf("%q is not a site name", site)
	}
	return nil
}

// Release is an installed release: its resolved folder and its tree.
type Release struct {
	Dir     string // without links in it
	Site    Site
	Tree    objects.Tree
	Account account.Account
	Cover   string // what must be covered so that the account can reach Dir, see process.Spec
	Data    []string
}
