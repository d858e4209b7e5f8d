package objects

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/internal/pause"
)

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
