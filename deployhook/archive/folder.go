package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is what Write packs: the files of a folder on this machine, sorted by
// path, each checked by the rules that the receiving side applies.
type Folder struct {
	Root  string
	Files []File
	Size  int64 // bytes of all files, before packing
}

// OpenFolder lists the folder root without what exclude names (and without
// AlwaysExcluded). Every mistake is reported at once, joined.
//
// A link to a file inside the folder is packed as that file; other links are a
// mistake, because they mean nothing on another machine. Empty folders are left
// out.
func OpenFolder(root string, exclude []string, limits Limits) (*Folder, error) {
	x, err := NewExclude(slices.Concat(AlwaysExcluded(), exclude))
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	if fi, err := os.Stat(real); err != nil || !fi.IsDir() {
		return nil, fmt.Errorf("open folder: %s is not a folder", root)
	}
	s := &scan{root: real, exclude: x, limits: limits.WithDefaults()}
	if err := filepath.WalkDir(real, s.visit); err != nil {
		return nil, fmt.Errorf("open folder %s: %w", root, err)
	}
	slices.SortFunc(s.files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	f := &Folder{Root: real, Files: s.files}
	var names Names
	for _, file := range f.Files {
		f.Size += file.Size
		if err := names.AddFile(file.Path); err != nil {
			s.mistake(file.Path, "%v", err)
		}
	}
	if f.Size > s.limits.Total {
		s.mistake(".", "holds %d bytes, more than %d", f.Size, s.limits.Total)
	}
	if len(f.Files) > s.limits.Entries {
		s.mistake(".", "holds %d files, more than %d", len(f.Files), s.limits.Entries)
	}
	if len(f.Files) == 0 && len(s.mistakes) == 0 {
		s.mistake(".", "holds no files")
	}
	return f, errors.Join(s.mistakes...)
}

// maxMistakes bounds a list that is for people.
const maxMistakes = 20

// scan is one walk of OpenFolder.
type scan struct {
	root     string
	exclude  Exclude
	limits   Limits
	files    []File
	mistakes []error
}

func (s *scan) mistake(p, format string, args ...any) {
	if len(s.mistakes) < maxMistakes {
		s.mistakes = append(s.mistakes, refuse(p, format, args...))
	}
}

func (s *scan) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(s.root, name)
	if err != nil || rel == "." {
		return err
	}
	p := filepath.ToSlash(rel)
	if s.exclude.Match(p, d.IsDir()) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if d.IsDir() {
		return nil
	}
	if len(s.files) > s.limits.Entries {
		return fs.SkipAll
	}
	fi, err := s.target(name, d)
	if err != nil {
		s.mistake(p, "%v: name it in exclude if the site does not need it", err)
		return nil
	}
	if err := s.limits.CheckPath(p); err != nil {
		s.mistake(p, "%v", err)
		return nil
	}
	if fi.Size() > s.limits.File {
		s.mistake(p, "has %d bytes, more than %d", fi.Size(), s.limits.File)
		return nil
	}
	s.files = append(s.files, File{Path: p, Exec: fi.Mode()&0o111 != 0, Size: fi.Size()})
	return nil
}

// target returns the file that an entry stands for.
func (s *scan) target(name string, d fs.DirEntry) (fs.FileInfo, error) {
	if d.Type()&fs.ModeSymlink == 0 {
		if !d.Type().IsRegular() {
			return nil, errors.New("is neither a file nor a folder")
		}
		return d.Info()
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, errors.New("is a link to nothing")
	}
	rel, err := filepath.Rel(s.root, real)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil, errors.New("is a link that leaves the folder")
	}
	if s.exclude.Match(path.Clean(filepath.ToSlash(rel)), false) {
		return nil, errors.New("is a link to an excluded file")
	}
	fi, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, errors.New("is a link to a folder")
	}
	return fi, nil
}
