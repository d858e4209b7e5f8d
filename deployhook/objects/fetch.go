package objects

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"portico/deployhook/archive"
)

// Source is another member that may hold objects.
type Source struct {
	Name   string       // for logs and errors
	URL    string       // "https://10.0.0.5:7444", in front of /v1/objects/…
	Client *http.Client // with the member's mutual TLS; without an overall timeout
}

// Fetcher brings objects from other members into a store. It verifies every
// byte, goes on where a connection broke, and turns to the next source when one
// fails, lacks the object or sends something else. The zero values of Parallel,
// Stall, Rounds and Limits mean their defaults.
type Fetcher struct {
	Store   *Store
	Sources []Source
	Logger  *slog.Logger

	// Of is the digest of the release whose objects are fetched. An application server
	// gets nothing without it, and only what is of a release that it is to run. Tree and
	// Release know it by themselves.
	Of string

	Parallel int            // requests at the same time; default 4
	Stall    time.Duration  // a source that sends nothing for this long is left; default 30s
	Rounds   int            // how often each source is tried for one piece; default 2
	Limits   archive.Limits // of the trees it takes; zero: TreeLimits
}

// The defaults of Fetcher.
const (
	defaultParallel = 4
	defaultStall    = 30 * time.Second
	defaultRounds   = 2
)

// Progress is told how many of the bytes to fetch have come. It is called from
// several goroutines, one at a time, with done never shrinking.
type Progress func(done, total int64)

// Release makes the store hold the release with this digest: its tree and every
// object in it. Only what is missing travels. progress may be nil.
func (f *Fetcher) Release(ctx context.Context, digest string, progress Progress) (Tree, error) {
	of := *f
	of.Of = digest
	t, err := of.Tree(ctx, digest)
	if err != nil {
		return Tree{}, err
	}
	return t, of.Objects(ctx, t.Files, progress)
}

// Tree returns the tree with this digest, from the store or from a source.
func (f *Fetcher) Tree(ctx context.Context, digest string) (Tree, error) {
	limits := cmp.Or(f.Limits, TreeLimits())
	t, err := f.Store.Tree(digest, limits)
	if err == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
		return t, err
	}
	of := *f
	of.Of = digest
	run := of.newRun(nil, nil)
	if err := run.large(ctx, File{Path: "the release's list of files", Digest: digest, Size: -1}); err != nil {
		return Tree{}, err
	}
	return f.Store.Tree(digest, limits)
}

// Objects makes the store hold the objects of files. progress may be nil.
func (f *Fetcher) Objects(ctx context.Context, files []File, progress Progress) error {
	missing := f.missing(files)
	if len(missing) == 0 {
		return nil
	}
	run := f.newRun(missing, progress)
	run.report(0)
	jobs := run.plan(missing)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan func(context.Context) error)
	var wg sync.WaitGroup
	for range min(cmp.Or(f.Parallel, defaultParallel), len(jobs)) {
		wg.Go(func() {
			for job := range next {
				if err := job(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, job := range jobs {
		select {
		case next <- job:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// missing returns one file for each object that the store lacks, largest first.
func (f *Fetcher) missing(files []File) []File {
	seen := make(map[string]bool, len(files))
	var list []File
	for _, file := range files {
		if seen[file.Digest] {
			continue
		}
		seen[file.Digest] = true
		if !f.Store.held(file.Digest, file.Size) {
			list = append(list, file)
		}
	}
	slices.SortStableFunc(list, func(a, b File) int { return cmp.Compare(b.Size, a.Size) })
	return list
}
