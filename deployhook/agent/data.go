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

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/objects"
)

// Data folders live in sites/SITE/data, outlive every release and are never
// shipped, compared or deleted. Each release holds a link in their place. The
// first release that names a folder seeds it: what the archive has there is
// copied once. Whatever later archives hold in that place is left out.

// dataNames returns the data folders of a site as clean relative paths.
func dataNames(s sites.Settings) ([]string, error) {
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

// seedName is the folder in which a data folder is made before it is moved to its
// place: a site can take away a folder in its own data, but see into none that is root's.
const seedName = ".portico-seed"

// seedData makes a site's data folders, with the release's content where a
// folder is new. What lies above them belongs to the site, which may make links
// of it: nothing is made behind a link.
func (a *Agent) seedData(ctx context.Context, d siteDirs, acc account.Account, names []string, seeds map[string]objects.Tree) error {
	data, err := beneath.Open(d.data())
	if err != nil {
		return fmt.Errorf("data folders: %w", err)
	}
	defer data.Close()
	for _, name := range names {
		err := a.seedOne(ctx, data, name, acc, seeds[name])
		switch {
		case errors.Is(err, beneath.ErrLink):
			a.log.Warn("data folder lies behind a link of the site: nothing is made or seeded there", "folder", filepath.Join(d.data(), name), "error", err)
		case err != nil:
			return fmt.Errorf("data folder %s: %w", name, err)
		}
	}
	return nil
}

func (a *Agent) seedOne(ctx context.Context, data *beneath.Dir, name string, acc account.Account, seed objects.Tree) error {
	in, rest, err := missing(data, name)
	if err != nil {
		return err
	}
	if rest != "" {
		err = a.seedFolder(ctx, in, rest, acc, seed)
	}
	return errors.Join(err, in.Close())
}

// missing returns the deepest folder on the way to name that is there, and what of the
// name is not: "" when something lies there already, whatever it is.
func missing(data *beneath.Dir, name string) (in *beneath.Dir, rest string, err error) {
	if in, err = data.Dir("."); err != nil {
		return nil, "", err
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		_, err := in.Lstat(part)
		if errors.Is(err, fs.ErrNotExist) {
			return in, path.Join(parts[i:]...), nil
		}
		if err == nil && i == len(parts)-1 {
			break
		}
		next := in
		if err == nil {
			next, err = in.Dir(part)
		}
		if err != nil {
			return nil, "", errors.Join(err, in.Close())
		}
		_ = in.Close()
		in = next
	}
	return in, "", nil
}

// seedFolder makes the folder rest in in, with the content of seed, and gives it and the
// folders above it to the site. All of that happens in a folder that nobody else can enter, and
// comes into the site's hands whole, by a rename.
func (a *Agent) seedFolder(ctx context.Context, in *beneath.Dir, rest string, acc account.Account, seed objects.Tree) (err error) {
	if err := in.RemoveAll(seedName); err != nil {
		return fmt.Errorf("remove what an earlier attempt left: %w", err)
	}
	if err := in.Root().Mkdir(seedName, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.RemoveAll(seedName)) }()
	closed, err := in.Dir(seedName)
	if err != nil {
		return err
	}
	defer closed.Close()
	if ok, err := closed.Empty(); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("%s: %w", seedName, beneath.ErrChanged))
	}
	if err := a.store.Assemble(ctx, seed, closed.Root(), filepath.FromSlash(rest), objects.Assembly{}); err != nil {
		return err
	}
	uid, gid := a.owner(acc)
	if err := closed.GiveAway(uid, gid); err != nil {
		return err
	}
	top, _, _ := strings.Cut(rest, "/")
	return in.Move(seedName+"/"+top, top)
}

// owner returns the ids that a site's folders are given to: -1, nobody else's, where
// the agent is not root.
func (a *Agent) owner(acc account.Account) (uid, gid int) {
	if !a.root {
		return -1, -1
	}
	return acc.UID, acc.GID
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
