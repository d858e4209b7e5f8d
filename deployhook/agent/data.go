package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"portico/deployhook/objects"
	"portico/membership/catalog"
)

// Data folders live in sites/SITE/data, outlive every release and are never
// shipped, compared or deleted. Each release holds a link in their place. The
// first release that names a folder seeds it: what the archive has there is
// copied once. Whatever later archives hold in that place is left out.

// dataNames returns the data folders of a site as clean relative paths.
func dataNames(s catalog.Settings) ([]string, error) {
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

// splitData takes the content of data folders out of a tree.
func splitData(t objects.Tree, names []string) (rest objects.Tree, seeds map[string]objects.Tree, err error) {
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

// seedData makes a site's data folders, with the release's content where a
// folder is new.
func (a *Agent) seedData(ctx context.Context, d siteDirs, acc account, names []string, seeds map[string]objects.Tree) error {
	for _, name := range names {
		dir := filepath.Join(d.data(), filepath.FromSlash(name))
		if _, err := os.Lstat(dir); err == nil {
			continue
		}
		if err := a.ownDirs(d.data(), filepath.Dir(dir), acc); err != nil {
			return fmt.Errorf("data folder %s: %w", name, err)
		}
		err := a.store.Assemble(ctx, seeds[name], dir, objects.Assembly{Finish: func(root *os.Root) error { return a.giveAway(root, acc) }})
		if err != nil {
			return fmt.Errorf("data folder %s: %w", name, err)
		}
	}
	return nil
}

// ownDirs makes the folders from base down to dir, owned by the site.
func (a *Agent) ownDirs(base, dir string, acc account) error {
	rel, err := filepath.Rel(base, dir)
	if err != nil {
		return err
	}
	at := base
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := a.chown(at, acc); err != nil {
			return err
		}
	}
	return nil
}

// giveAway makes everything below root the site's own, to read and write.
func (a *Agent) giveAway(root *os.Root, acc account) error {
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if e.IsDir() || fi.Mode()&0o100 != 0 {
			mode = 0o700
		}
		if err := root.Chmod(name, mode); err != nil {
			return err
		}
		if !a.root {
			return nil
		}
		return root.Lchown(name, acc.UID, acc.GID)
	})
}

// linkData puts the links to data folders into a release that is being
// assembled. They are relative, so that the state directory can be moved.
func linkData(root *os.Root, names []string) error {
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
