package folders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"strings"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/objects"
)

// SeedName is the folder in which a data folder is made before it is moved to its
// place: a site can take away a folder in its own data, but see into none that is root's.
const SeedName = ".portico-seed"

// Seeder makes data folders.
type Seeder struct {
	Store *objects.Store
	Own   bool // give them to the sites' accounts, which only root can
	Log   *slog.Logger
}

// Seed makes a site's data folders, with the release's content where a
// folder is new. What lies above them belongs to the site, which may make links
// of it: nothing is made behind a link.
func (s Seeder) Seed(ctx context.Context, rel Release, seeds map[string]objects.Tree) error {
	data, err := beneath.Open(rel.Site.Data())
	if err != nil {
		return fmt.Errorf("data folders: %w", err)
	}
	defer data.Close()
	for _, name := range rel.Data {
		err := s.one(ctx, data, name, rel.Account, seeds[name])
		switch {
		case errors.Is(err, beneath.ErrLink):
			s.Log.Warn("data folder lies behind a link of the site: nothing is made or seeded there", "folder", filepath.Join(rel.Site.Data(), name), "error", err)
		case err != nil:
			return fmt.Errorf("data folder %s: %w", name, err)
		}
	}
	return nil
}

// one makes one data folder.
func (s Seeder) one(ctx context.Context, data *beneath.Dir, name string, acc account.Account, seed objects.Tree) error {
	in, rest, err := missing(data, name)
	if err != nil {
		return err
	}
	if rest != "" {
		err = s.folder(ctx, in, rest, acc, seed)
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

// folder makes the folder rest in in, with the content of seed, and gives it and the
// folders above it to the site. All of that happens in a folder that nobody else can enter, and
// comes into the site's hands whole, by a rename.
func (s Seeder) folder(ctx context.Context, in *beneath.Dir, rest string, acc account.Account, seed objects.Tree) (err error) {
	if err := in.RemoveAll(SeedName); err != nil {
		return fmt.Errorf("remove what an earlier attempt left: %w", err)
	}
	if err := in.Root().Mkdir(SeedName, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.RemoveAll(SeedName)) }()
	closed, err := in.Dir(SeedName)
	if err != nil {
		return err
	}
	defer closed.Close()
	if ok, err := closed.Empty(); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("%s: %w", SeedName, beneath.ErrChanged))
	}
	if err := s.Store.Assemble(ctx, seed, closed.Root(), filepath.FromSlash(rest), objects.Assembly{}); err != nil {
		return err
	}
	uid, gid := s.owner(acc)
	if err := closed.GiveAway(uid, gid); err != nil {
		return err
	}
	top, _, _ := strings.Cut(rest, "/")
	return in.Move(SeedName+"/"+top, top)
}

// owner returns the ids that a site's folders are given to: -1, nobody else's, where
// they are given to nobody.
func (s Seeder) owner(acc account.Account) (uid, gid int) {
	if !s.Own {
		return -1, -1
	}
	return acc.UID, acc.GID
}
