package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"portico/deployhook"
	"portico/internal/refusal"
)

// Upload is an archive to deploy.
type Upload struct {
	Site string
	Name string // file name, for people and for the format where the content does not tell
	Size int64  // bytes; -1 where it is not known, and then Progress has no total

	// Open returns the archive from its beginning. It is called again when the
	// connection broke before the proxy had answered.
	Open func() (io.ReadCloser, error)

	Hosts []string // in place of those in the archive's portico.toml
	Path  string   // mount path, likewise

	// Query holds what else the receiver takes: kind, wait, dry_run.
	Query url.Values

	// Progress is told how many bytes have been sent, from the goroutine that
	// sends; nil: nobody is told.
	Progress func(sent, total int64)
}

// uploadTries is how often an upload begins. A break before the answer leaves
// nothing at the proxy but a spooled part, and a release is named by its
// content, so that sending the same archive again is safe.
const uploadTries = 3

// Upload sends an archive and returns what came of it, as the receiver says. Only
// ctx bounds how long it takes.
func (c *Client) Upload(ctx context.Context, u Upload) (deployhook.ArchiveAnswer, error) {
	var d deployhook.ArchiveAnswer
	for try := 1; ; try++ {
		err := c.upload(ctx, u, &d)
		var answered *refusal.Error
		var local *openError
		if err == nil || errors.As(err, &answered) || errors.As(err, &local) || ctx.Err() != nil || try == uploadTries {
			return d, err
		}
		select {
		case <-time.After(time.Duration(try) * time.Second):
		case <-ctx.Done():
			return d, err
		}
	}
}

// openError is a failure on this side, which trying again would not mend.
type openError struct{ err error }

func (e *openError) Error() string { return e.err.Error() }
func (e *openError) Unwrap() error { return e.err }

func (c *Client) upload(ctx context.Context, u Upload, out *deployhook.ArchiveAnswer) error {
	file, err := u.Open()
	if err != nil {
		return &openError{fmt.Errorf("open archive: %w", err)}
	}
	counted := &countingReader{r: file, total: u.Size, progress: u.Progress}
	query := url.Values{}
	for k, v := range u.Query {
		query[k] = v
	}
	for _, h := range u.Hosts {
		query.Add("host", h)
	}
	if u.Path != "" {
		query.Set("path", u.Path)
	}
	if u.Name != "" {
		query.Set("name", u.Name)
	}
	target := c.base + "/v1/sites/" + segment(u.Site) + "/archive"
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target, counted)
	if err != nil {
		_ = file.Close()
		return &openError{fmt.Errorf("build request: %w", err)}
	}
	req.ContentLength = u.Size
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue") // a refusal then costs no upload
	resp, err := c.do(req)
	if failed := counted.failure(); failed != nil {
		return &openError{fmt.Errorf("read archive: %w", failed)}
	}
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return &openError{fmt.Errorf("read answer of the upload: %w", err)}
	}
	return nil
}

// countingReader tells how far an upload is. The transport closes it.
type countingReader struct {
	r        io.ReadCloser
	sent     int64
	total    int64
	progress func(sent, total int64)

	mu     sync.Mutex // the transport may still read when it has given up
	closed bool       // guarded by mu
	failed error      // before it was closed; guarded by mu
}

func (r *countingReader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.sent += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.mu.Lock()
		if !r.closed { // afterwards it is the transport's own doing: the answer is there
			r.failed = err
		}
		r.mu.Unlock()
	}
	if n > 0 && r.progress != nil {
		r.progress(r.sent, r.total)
	}
	return n, err
}

func (r *countingReader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	return r.r.Close()
}
