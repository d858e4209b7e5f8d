package objects

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"portico/deployhook/archive"
	"portico/internal/pause"
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

// run is one call of Objects.
type run struct {
	*Fetcher
	turn atomic.Uint32 // spreads jobs over the sources

	mu       sync.Mutex
	progress Progress
	done     int64
	total    int64
	bad      map[string]int // failures by source name; the best are asked first
}

func (f *Fetcher) newRun(missing []File, progress Progress) *run {
	r := &run{Fetcher: f, progress: progress, bad: make(map[string]int)}
	for _, file := range missing {
		r.total += file.Size
	}
	return r
}

func (r *run) report(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	if r.progress != nil {
		r.progress(min(max(r.done, 0), r.total), r.total)
	}
}

// plan cuts the work into jobs: a request for each large object, one for many
// small ones.
func (r *run) plan(files []File) []func(context.Context) error {
	var jobs []func(context.Context) error
	var small []File
	var bytes int64
	flush := func() {
		if part := small; len(part) > 0 {
			jobs = append(jobs, func(ctx context.Context) error { return r.bundle(ctx, part) })
		}
		small, bytes = nil, 0
	}
	for _, file := range files {
		if file.Size > bundleObject {
			jobs = append(jobs, func(ctx context.Context) error { return r.large(ctx, file) })
			continue
		}
		if len(small) == bundleCount || bytes+file.Size > bundleBytes {
			flush()
		}
		small = append(small, file)
		bytes += file.Size
	}
	flush()
	return jobs
}

// order returns the sources in the order of asking: those that failed less
// first, and the others in turn, so that work spreads.
func (r *run) order() []Source {
	n := len(r.Sources)
	if n == 0 {
		return nil
	}
	start := int(r.turn.Add(1)) % n
	list := slices.Concat(r.Sources[start:], r.Sources[:start])
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(list, func(a, b Source) int { return cmp.Compare(r.bad[a.Name], r.bad[b.Name]) })
	return list
}

func (r *run) blame(src Source, err error) {
	r.mu.Lock()
	r.bad[src.Name]++
	r.mu.Unlock()
	if r.Logger != nil {
		r.Logger.Debug("object source failed", "source", src.Name, "error", err)
	}
}

// each asks the sources one after the other, Rounds times, until try reports
// that nothing is left.
func (r *run) each(ctx context.Context, what string, try func(Source) (done bool, err error)) error {
	var last error
	for round := range cmp.Or(r.Rounds, defaultRounds) {
		if round > 0 && pause.For(ctx, time.Duration(round)*250*time.Millisecond) != nil {
			break
		}
		for _, src := range r.order() {
			done, err := try(src)
			if done {
				return nil
			}
			if DiskFull(err) || ctx.Err() != nil {
				return fmt.Errorf("fetch %s: %w", what, errors.Join(context.Cause(ctx), err))
			}
			if err != nil {
				last = fmt.Errorf("from %s: %w", src.Name, err)
				r.blame(src, err)
			}
		}
	}
	if last == nil {
		last = errors.New("no other member is known that could have it")
	}
	return fmt.Errorf("fetch %s: %w", what, last)
}

// large fetches one object, going on at the byte where a source broke off.
func (r *run) large(ctx context.Context, file File) error {
	b := r.Store.NewBatch()
	defer b.Close()
	t, err := r.Store.newTemporary()
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			t.discard()
		}
	}()
	err = r.each(ctx, fmt.Sprintf("%s (%s)", file.Path, file.Digest), func(src Source) (bool, error) {
		if err := r.rest(ctx, src, file, t); err != nil {
			return false, err
		}
		if got := t.digest(); got != file.Digest {
			r.report(-t.size)
			return false, errors.Join(fmt.Errorf("%w: %s came", ErrCorrupt, got), t.reset())
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	kept = true
	if _, _, err := b.take(t, file.Digest); err != nil {
		return err
	}
	return b.Commit()
}

// rest fetches what t lacks of a file from one source.
func (r *run) rest(ctx context.Context, src Source, file File, t *temporary) error {
	if file.Size >= 0 && t.size == file.Size && file.Size > 0 {
		return nil
	}
	ctx, alive, stop := r.watch(ctx)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url(src, file.Digest), nil)
	if err != nil {
		return err
	}
	if t.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.size))
	}
	res, err := src.Client.Do(req)
	if err != nil {
		return cause(ctx, err)
	}
	defer res.Body.Close()
	if err := r.begin(res, t); err != nil {
		return err
	}
	limit := file.Size
	if limit < 0 {
		limit = MaxTree
	}
	n, err := io.Copy(t, &counted{r: io.LimitReader(res.Body, limit-t.size+1), run: r, alive: alive})
	switch {
	case err != nil:
		return cause(ctx, err)
	case t.size > limit:
		r.report(-t.size)
		return errors.Join(fmt.Errorf("%w: it sends more than %d bytes", ErrCorrupt, limit), t.reset())
	case file.Size >= 0 && t.size < file.Size:
		return fmt.Errorf("it sent %d bytes and ended at %d of %d: %w", n, t.size, file.Size, io.ErrUnexpectedEOF)
	}
	return nil
}

// url is where a source answers for an object or a bundle.
func (r *run) url(src Source, what string) string {
	u := strings.TrimSuffix(src.URL, "/") + "/v1/objects/" + what
	if r.Of != "" {
		u += "?release=" + r.Of
	}
	return u
}

// begin checks the head of an answer against what t has already.
func (r *run) begin(res *http.Response, t *temporary) error {
	switch {
	case res.StatusCode == http.StatusPartialContent && strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", t.size)):
		return nil
	case res.StatusCode == http.StatusOK:
		r.report(-t.size)
		return t.reset()
	case res.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		r.report(-t.size)
		return errors.Join(fmt.Errorf("%w: it has fewer than %d bytes there", ErrCorrupt, t.size), t.reset())
	}
	return fmt.Errorf("it answers %s", res.Status)
}

// bundle fetches many small objects.
func (r *run) bundle(ctx context.Context, files []File) error {
	b := r.Store.NewBatch()
	defer b.Close()
	left := files
	err := r.each(ctx, fmt.Sprintf("%s and %d more", files[0].Path, len(files)-1), func(src Source) (bool, error) {
		var err error
		left, err = r.bundleFrom(ctx, src, left, b)
		return len(left) == 0, err
	})
	if err != nil {
		// Keep what came: the next attempt starts from there.
		return errors.Join(err, b.Commit())
	}
	return b.Commit()
}

// bundleFrom asks one source and returns what is still missing.
func (r *run) bundleFrom(ctx context.Context, src Source, files []File, b *Batch) (left []File, err error) {
	ctx, alive, stop := r.watch(ctx)
	defer stop()
	var body strings.Builder
	for _, f := range files {
		body.WriteString(f.Digest + "\n")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url(src, "bundle"), strings.NewReader(body.String()))
	if err != nil {
		return files, err
	}
	res, err := src.Client.Do(req)
	if err != nil {
		return files, cause(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return files, fmt.Errorf("it answers %s", res.Status)
	}
	in := bufio.NewReaderSize(&counted{r: res.Body, alive: alive}, 64<<10)
	for i, f := range files {
		switch err := r.readFramed(in, f, b); {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
			left = append(left, f)
		case err != nil:
			return append(left, files[i:]...), cause(ctx, err)
		}
	}
	if len(left) > 0 {
		return left, fmt.Errorf("%w: it lacks %d of %d", ErrNotFound, len(left), len(files))
	}
	return nil, nil
}

// readFramed reads one object of a bundle into the batch.
func (r *run) readFramed(in *bufio.Reader, f File, b *Batch) error {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return unexpected(err)
	}
	n := binary.BigEndian.Uint64(head[:])
	switch {
	case n == absent:
		return ErrNotFound
	case n != uint64(f.Size):
		// Not corrupt but lying: what follows cannot be trusted to be framed.
		return fmt.Errorf("%s has %d bytes there, %d were wanted", f.Digest, n, f.Size)
	}
	body := &io.LimitedReader{R: in, N: f.Size}
	err := b.AddVerified(f.Digest, body)
	if err == nil || errors.Is(err, ErrCorrupt) {
		if body.N > 0 {
			return io.ErrUnexpectedEOF
		}
	}
	if err == nil {
		r.report(f.Size)
	}
	return err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// errStalled ends a request whose source has gone silent.
var errStalled = errors.New("it sends nothing any more")

// watch returns a context that ends when alive has not been called for the
// stall time.
func (r *run) watch(ctx context.Context) (_ context.Context, alive func(), stop func()) {
	stall := cmp.Or(r.Stall, defaultStall)
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	return ctx, func() { timer.Reset(stall) }, func() { timer.Stop(); cancel(nil) }
}

// cause names the stall instead of the "context canceled" that it shows as.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// counted tells the watchdog, and where wanted the progress, about each read.
type counted struct {
	r     io.Reader
	run   *run // nil: no progress
	alive func()
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.alive()
		if c.run != nil {
			c.run.report(int64(n))
		}
	}
	return n, err
}
