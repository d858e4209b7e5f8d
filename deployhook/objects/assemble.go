package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// TempSuffix ends the name of a release folder that is not whole yet. What
// carries it after a restart may be removed.
const TempSuffix = ".tmp"

// assembleParallel is the number of files copied at the same time; the disk is
// the limit, not the processor.
const assembleParallel = 4

// Assembly says how a release is put together.
type Assembly struct {
	// Link makes files hard links to the objects where the file system can: no
	// process but the agent's own may be able to open them. It spares the disk
	// the copy, which for thousands of small files is most of a deploy.
	Link bool

	// Finish, if not nil, may add to the new folder before it becomes visible
	// (links to data folders).
	Finish func(*os.Root) error
}

// Assemble makes the folder name below in hold the files of t and nothing else; the folders above it
// are made as needed. It builds beside name and renames at the end, so name is whole or not there; one
// that is there already is left as it is. Nobody else may be able to change what is in the folder in.
//
// Files are copies, not hard links to objects, unless o says that nobody else
// opens them: a site's process may run as an account that can write here, and a
// write through a link would change the object under every other release that
// shares it. Either way every byte is read and each file compared with its
// digest: what is assembled is what was deployed. Copies are read-only (0444, or
// 0555 when executable), folders 0755. An object that does not match is removed
// and reported as ErrCorrupt, a missing one as ErrNotFound: fetch and call again.
func (s *Store) Assemble(ctx context.Context, t Tree, in *os.Root, name string, o Assembly) error {
	if _, err := in.Lstat(name); err == nil {
		return nil
	}
	if err := s.assemble(ctx, t, in, name, o); err != nil {
		_ = in.RemoveAll(name + TempSuffix)
		return fmt.Errorf("assemble %s: %w", filepath.Join(in.Name(), name), disk(err))
	}
	return nil
}

func (s *Store) assemble(ctx context.Context, t Tree, in *os.Root, name string, o Assembly) error {
	tmp := name + TempSuffix
	if err := in.RemoveAll(tmp); err != nil {
		return err
	}
	if err := in.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	root, err := in.OpenRoot(tmp)
	if err != nil {
		return err
	}
	defer root.Close()
	dirs, err := makeFolders(root, t)
	if err != nil {
		return err
	}
	copied, err := s.placeFiles(ctx, root, t.Files, o.Link)
	if err != nil {
		return err
	}
	if o.Finish != nil {
		if err := o.Finish(root); err != nil {
			return err
		}
	}
	if !copied {
		t.Files = nil // every file is an object, and those are on the disk already
	}
	if err := flushRelease(root, t, dirs); err != nil {
		return err
	}
	// Windows does not rename a folder that is open.
	if err := root.Close(); err != nil {
		return err
	}
	if err := in.Rename(tmp, name); err != nil {
		return err
	}
	return flushDirs(in.OpenFile, ".", []string{filepath.Dir(name)})
}

// makeFolders makes the folders of a tree and returns them with the root.
func makeFolders(root *os.Root, t Tree) ([]string, error) {
	seen := map[string]bool{".": true}
	for _, f := range t.Files {
		for d := path.Dir(f.Path); !seen[d]; d = path.Dir(d) {
			seen[d] = true
		}
	}
	var dirs []string
	for d := range seen {
		dirs = append(dirs, d)
	}
	slices.SortFunc(dirs, strings.Compare) // parents come first
	for _, d := range dirs {
		if err := root.Mkdir(filepath.FromSlash(d), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := root.Chmod(filepath.FromSlash(d), 0o755); err != nil {
			return nil, err // the umask of the agent must not lock the site's account out
		}
	}
	return dirs, nil
}

// placeFiles puts every file at its place, as a link or as a copy, and reports
// whether any is a copy.
func (s *Store) placeFiles(ctx context.Context, root *os.Root, files []File, link bool) (copied bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan File)
	var anyCopied atomic.Bool
	var wg sync.WaitGroup
	for range min(assembleParallel, len(files)) {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for f := range next {
				if link && s.linkFile(ctx, root.Name(), f, buf) == nil {
					continue
				}
				anyCopied.Store(true)
				if err := s.copyFile(ctx, root, f, buf); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, f := range files {
		select {
		case next <- f:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return anyCopied.Load(), context.Cause(ctx)
}

// linkFile makes an object's file appear at its place as well, after a look at
// its bytes. Any failure leaves nothing there, for copyFile to do it or to say why not.
func (s *Store) linkFile(ctx context.Context, tmp string, f File, buf []byte) error {
	src, err := s.Open(f.Digest)
	if err != nil {
		return err
	}
	defer src.Close()
	h := sha256.New()
	n, err := copyBuffer(ctx, h, src, buf)
	if err != nil {
		return err
	}
	if n != f.Size || hex.EncodeToString(h.Sum(nil)) != f.Digest {
		return ErrCorrupt
	}
	return os.Link(s.Path(f.Digest), filepath.Join(tmp, filepath.FromSlash(f.Path)))
}

// copyFile copies one object to its place and verifies it on the way.
func (s *Store) copyFile(ctx context.Context, root *os.Root, f File, buf []byte) (err error) {
	src, err := s.Open(f.Digest)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	defer src.Close()
	// O_EXCL: names that this file system takes for one are an error, not an
	// overwrite.
	dst, err := root.OpenFile(filepath.FromSlash(f.Path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	h := sha256.New()
	n, err := copyBuffer(ctx, io.MultiWriter(dst, h), src, buf)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if n != f.Size || hex.EncodeToString(h.Sum(nil)) != f.Digest {
		return fmt.Errorf("%s: %w", f.Path, s.corrupt(f.Digest))
	}
	mode := fs.FileMode(0o444)
	if f.Exec {
		mode = 0o555
	}
	return dst.Chmod(mode)
}

// copyBuffer is io.CopyBuffer that ends with its context.
func copyBuffer(ctx context.Context, dst io.Writer, src io.Reader, buf []byte) (int64, error) {
	var n int64
	for {
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		k, err := src.Read(buf)
		if _, werr := dst.Write(buf[:k]); werr != nil {
			return n, werr
		}
		n += int64(k)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func flushRelease(root *os.Root, t Tree, dirs []string) error {
	files := make([]string, 0, len(t.Files))
	for _, f := range t.Files {
		files = append(files, filepath.FromSlash(f.Path))
	}
	if err := flushMany(root.OpenFile, ".", files); err != nil {
		return err
	}
	list := make([]string, 0, len(dirs))
	for _, d := range dirs {
		list = append(list, filepath.FromSlash(d))
	}
	return flushDirs(root.OpenFile, ".", list)
}
