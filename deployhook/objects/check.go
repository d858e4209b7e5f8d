package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Check compares the folder dir with what Assemble made of t: every file of t is there, no link
// and no other content, or the error, ErrCorrupt, names the first that is not. What else lies in
// the folder it does not look at: a site's own commands may have made it.
func Check(ctx context.Context, t Tree, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("check release: %w", err)
	}
	defer root.Close()
	buf := make([]byte, 64<<10)
	for _, f := range t.Files {
		if err := checkFile(ctx, root, f, buf); err != nil {
			return fmt.Errorf("check release: %s in %s: %w", f.Path, dir, err)
		}
	}
	return nil
}

func checkFile(ctx context.Context, root *os.Root, f File, buf []byte) error {
	name := filepath.FromSlash(f.Path)
	info, err := root.Lstat(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if !info.Mode().IsRegular() || info.Size() != f.Size {
		return ErrCorrupt
	}
	file, err := root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := copyBuffer(ctx, h, io.LimitReader(file, f.Size+1), buf); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.Digest {
		return ErrCorrupt
	}
	return nil
}
