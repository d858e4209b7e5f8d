package archive

import (
	"fmt"
	"strings"
)

// Names remembers the paths of one release and refuses those that cannot stand
// beside the ones before: duplicates, names that differ in case only, and a
// file that is also a folder. The zero value is ready; it is not safe for
// concurrent use.
type Names struct {
	seen map[string]name // by folded path
}

type name struct {
	path   string // as first written
	folder bool
}

// AddFile records the file p, which has passed Limits.CheckPath.
func (n *Names) AddFile(p string) error {
	if err := n.addParents(p); err != nil {
		return err
	}
	key := fold(p)
	if was, ok := n.seen[key]; ok {
		switch {
		case was.path != p:
			return fmt.Errorf("differs from %q in case only", was.path)
		case was.folder:
			return fmt.Errorf("is a file and a folder")
		}
		return fmt.Errorf("is in the archive twice")
	}
	n.seen[key] = name{path: p}
	return nil
}

// AddFolder records the folder p, which has passed Limits.CheckPath. Naming a
// folder again is fine.
func (n *Names) AddFolder(p string) error {
	if err := n.addParents(p); err != nil {
		return err
	}
	return n.addOneFolder(p)
}

func (n *Names) addParents(p string) error {
	if n.seen == nil {
		n.seen = make(map[string]name)
	}
	for i := range len(p) {
		if p[i] != '/' {
			continue
		}
		if err := n.addOneFolder(p[:i]); err != nil {
			return err
		}
	}
	return nil
}

func (n *Names) addOneFolder(p string) error {
	key := fold(p)
	was, ok := n.seen[key]
	switch {
	case !ok:
		n.seen[strings.Clone(key)] = name{path: p, folder: true}
		return nil
	case was.path != p:
		return fmt.Errorf("lies in %q, which differs from %q in case only", p, was.path)
	case !was.folder:
		return fmt.Errorf("lies in %q, which is a file", p)
	}
	return nil
}
