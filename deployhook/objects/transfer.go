package objects

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

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
