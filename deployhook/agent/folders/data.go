package folders

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"portico/conf/sites"
	"portico/deployhook/objects"
)

// Data folders live in sites/SITE/data, outlive every release and are never
// shipped, compared or deleted. Each release holds a link in their place. The
// first release that names a folder seeds it: what the archive has there is
// copied once. Whatever later archives hold in that place is left out.

// DataNames returns the data folders of a site as clean relative paths.
func DataNames(s sites.Settings) ([]string, error) {
	var names []string
	for _, name := range s.Data {
		clean := path.Clean(strings.ReplaceAll(name, "\\", "/"))
		if clean == "." || !filepath.IsLocal(filepath.FromSlash(clean)) {
			return nil, fmt.Errorf("data folder %q: it must lie inside the release", name)
		}
		for _, other := range names {
			if inside(clean, other) || inside(other, clean) {
				return nil, fmt.Errorf("data folders %q and %q lie in one another", other, clean)
			}
		}
		names = append(names, clean)
	}
	return names, nil
}

// inside reports whether p is dir or lies in it.
func inside(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// SplitData takes the content of data folders out of a tree.
func SplitData(t objects.Tree, names []string) (rest objects.Tree, seeds map[string]objects.Tree, err error) {
	seeds = make(map[string]objects.Tree)
	for _, f := range t.Files {
		name := ""
		for _, n := range names {
			if f.Path == n {
				return rest, nil, fmt.Errorf("data folder %q is a file in this release", n)
			}
			if inside(f.Path, n) {
				name = n
			}
		}
		if name == "" {
			rest.Files = append(rest.Files, f)
			continue
		}
		f.Path = strings.TrimPrefix(f.Path, name+"/")
		seed := seeds[name]
		seed.Files = append(seed.Files, f)
		seeds[name] = seed
	}
	return rest, seeds, nil
}

// LinkData puts the links to data folders into a release that is being
// assembled. They are relative, so that the state directory can be moved.
func LinkData(root *os.Root, names []string) error {
	for _, name := range names {
		if dir := path.Dir(name); dir != "." {
			if err := root.MkdirAll(filepath.FromSlash(dir), 0o755); err != nil {
				return err
			}
		}
		// From sites/SITE/releases/DIGEST/NAME to sites/SITE/data/NAME.
		up := strings.Repeat("../", 2+strings.Count(name, "/"))
		if err := linkFolder(root, filepath.FromSlash(up+"data/"+name), filepath.FromSlash(name)); err != nil {
			return fmt.Errorf("link data folder %s: %w", name, err)
		}
	}
	return nil
}
