package objects

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"portico/deployhook/archive"
)

// Tree is a release: its files, sorted by path. Folders are there because files
// are in them; an empty folder is not part of a release.
type Tree struct {
	Files []File
}

// File is one file of a release.
type File struct {
	Path   string // relative, "/" between names, see archive.Limits.CheckPath
	Exec   bool   // may be executed; no other mode is kept
	Size   int64
	Digest string
}

// treeHeader opens the encoded form, so that no other object is mistaken for a tree.
const treeHeader = "portico tree 1\n"

// MaxTree is the largest encoded tree in bytes: 100,000 files with long paths.
const MaxTree = 64 << 20

// TreeLimits are wide limits for trees that a proxy has admitted under its own:
// they bound memory, not what operators allow. The rules for paths are the same.
func TreeLimits() archive.Limits {
	return archive.Limits{Entries: 1_000_000, File: 1 << 40, Total: 1 << 42}
}

// NewTree sorts files into a tree and checks it.
func NewTree(files []File, limits archive.Limits) (Tree, error) {
	t := Tree{Files: slices.Clone(files)}
	slices.SortFunc(t.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	if err := t.check(limits); err != nil {
		return Tree{}, err
	}
	return t, nil
}

// Size returns the bytes of all files.
func (t Tree) Size() int64 {
	var n int64
	for _, f := range t.Files {
		n += f.Size
	}
	return n
}

// Encode returns the canonical form: a header line, then for each file a line
// of digest, size, "x" or "-", and path. One tree has exactly one form.
func (t Tree) Encode() []byte {
	var b bytes.Buffer
	b.WriteString(treeHeader)
	for _, f := range t.Files {
		mode := "-"
		if f.Exec {
			mode = "x"
		}
		fmt.Fprintf(&b, "%s %d %s %s\n", f.Digest, f.Size, mode, f.Path)
	}
	return b.Bytes()
}

// Digest returns the SHA-256 of the canonical form: the release's name.
func (t Tree) Digest() string { return Sum(t.Encode()) }

// Decode reads the canonical form and checks every path as if it came from an
// archive, because whoever assembles the tree trusts nobody's checks but its own.
func Decode(b []byte, limits archive.Limits) (Tree, error) {
	limits = limits.WithDefaults()
	rest, ok := strings.CutPrefix(string(b), treeHeader)
	if !ok {
		return Tree{}, fmt.Errorf("decode tree: it does not begin with %q", strings.TrimSpace(treeHeader))
	}
	var t Tree
	for line := 2; rest != ""; line++ {
		text, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return Tree{}, fmt.Errorf("decode tree: line %d is cut off", line)
		}
		rest = after
		f, err := decodeFile(text)
		if err != nil {
			return Tree{}, fmt.Errorf("decode tree: line %d: %w", line, err)
		}
		if t.Files = append(t.Files, f); len(t.Files) > limits.Entries {
			return Tree{}, fmt.Errorf("decode tree: more than %d files", limits.Entries)
		}
	}
	if err := t.check(limits); err != nil {
		return Tree{}, fmt.Errorf("decode tree: %w", err)
	}
	return t, nil
}

func decodeFile(line string) (File, error) {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) != 4 {
		return File{}, fmt.Errorf("it has not four fields")
	}
	size, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != parts[1] {
		return File{}, fmt.Errorf("%q is not a size", parts[1])
	}
	if parts[2] != "x" && parts[2] != "-" {
		return File{}, fmt.Errorf(`%q is not a mode, "x" or "-"`, parts[2])
	}
	return File{Digest: parts[0], Size: size, Exec: parts[2] == "x", Path: parts[3]}, nil
}

func (t Tree) check(limits archive.Limits) error {
	limits = limits.WithDefaults()
	if len(t.Files) > limits.Entries {
		return fmt.Errorf("more than %d files", limits.Entries)
	}
	var names archive.Names
	var total int64
	for i, f := range t.Files {
		if err := limits.CheckPath(f.Path); err != nil {
			return fmt.Errorf("%q %w", f.Path, err)
		}
		if err := names.AddFile(f.Path); err != nil {
			return fmt.Errorf("%q %w", f.Path, err)
		}
		switch {
		case i > 0 && t.Files[i-1].Path >= f.Path:
			return fmt.Errorf("%q is not in order", f.Path)
		case !ValidDigest(f.Digest):
			return fmt.Errorf("%q: %w", f.Path, ErrBadDigest)
		case f.Size < 0 || f.Size > limits.File:
			return fmt.Errorf("%q has %d bytes, more than %d", f.Path, f.Size, limits.File)
		}
		if total += f.Size; total > limits.Total {
			return fmt.Errorf("the files have more than %d bytes together", limits.Total)
		}
	}
	return nil
}

// PutTree stores the encoded tree and returns its digest.
func (s *Store) PutTree(t Tree) (string, error) {
	b := t.Encode()
	if len(b) > MaxTree {
		return "", fmt.Errorf("put tree: the list of %d files has %d bytes, more than %d", len(t.Files), len(b), MaxTree)
	}
	digest, _, err := s.Put(bytes.NewReader(b))
	return digest, err
}

// Tree reads the tree with this digest, verified and under limits.
func (s *Store) Tree(digest string, limits archive.Limits) (Tree, error) {
	b, err := s.ReadAll(digest, MaxTree)
	if err != nil {
		return Tree{}, err
	}
	return Decode(b, limits)
}
