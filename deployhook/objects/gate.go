package objects

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
)

// keptTrees is how many releases' lists of objects are kept for requests: as many as
// are fetched at a time in a busy cluster, about a megabyte each where releases are large.
const keptTrees = 8

// gate remembers which objects releases have.
type gate struct {
	mu    sync.Mutex
	trees map[string]map[string]bool // by release; never changed once made
	order []string                   // the oldest first
}

// let lets a request in for the objects of one release, or answers that it may not.
func (g *gate) let(w http.ResponseWriter, r *http.Request, s *Store, may func(release string) bool) (*http.Request, bool) {
	release := r.URL.Query().Get("release")
	if !ValidDigest(release) || !may(release) {
		http.Error(w, "objects are given with a release that this server is to run: name it with ?release=DIGEST", http.StatusForbidden)
		return r, false
	}
	members, err := g.members(s, release)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return r, false
	}
	one := func(digest string) bool { return digest == release || members[digest] }
	return r.WithContext(context.WithValue(r.Context(), only{}, one)), true
}

// only is the key of a request's context under which stands what it may have.
type only struct{}

// allowed reports whether a request that was let in may have an object.
func allowed(ctx context.Context, digest string) bool {
	one, restricted := ctx.Value(only{}).(func(string) bool)
	return !restricted || one(digest)
}

// openFor is Open for a request.
func (s *Store) openFor(ctx context.Context, digest string) (*os.File, error) {
	if !allowed(ctx, digest) {
		return nil, ErrNotFound
	}
	return s.Open(digest)
}

// members returns the objects of a release, without its tree.
func (g *gate) members(s *Store, release string) (map[string]bool, error) {
	g.mu.Lock()
	known := g.trees[release]
	g.mu.Unlock()
	if known != nil {
		return known, nil
	}
	tree, err := s.Tree(release, TreeLimits())
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool, len(tree.Files))
	for _, f := range tree.Files {
		set[f.Digest] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trees == nil {
		g.trees = map[string]map[string]bool{}
	}
	if g.trees[release] == nil {
		g.order = append(g.order, release)
	}
	g.trees[release] = set
	if len(g.order) > keptTrees {
		delete(g.trees, g.order[0])
		g.order = g.order[1:]
	}
	return set, nil
}
