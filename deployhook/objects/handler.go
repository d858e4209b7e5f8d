package objects

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"
)

const (
	// writeTimeout is how long one piece of an answer may take to leave. It is
	// renewed with every piece, so a large object may take hours and a reader
	// that is gone is noticed.
	writeTimeout = 30 * time.Second

	// bundleObject is the largest object that a bundle carries. Larger ones
	// are worth a request of their own, which can be resumed.
	bundleObject = 256 << 10
	// bundleCount and bundleBytes bound what one bundle asks for: enough to
	// make the round trips vanish, little enough that a broken one costs little.
	bundleCount = 2048
	bundleBytes = 16 << 20
)

// Serve answers other members, whom the caller has authenticated:
//
//	GET, HEAD /v1/objects/DIGEST   one object, with ranges (RFC 9110 section 14)
//	POST /v1/objects/bundle        many small objects in one answer
//
// The body of a bundle request is up to 2,048 digests of 64 characters, each
// with a line feed. The answer has, for each digest in order, 8 bytes of
// big-endian length and the content, or the length 2^64-1 for an object that is
// not here or larger than 256 KiB.
//
// Who asks gets the objects of one release, which the request names
// (?release=DIGEST) and which may says is for who asks. Another release is refused
// with 403; an object that is not of it counts as not here. May nil: everything.
func (s *Store) Serve(w http.ResponseWriter, r *http.Request, may func(release string) bool) {
	if may != nil {
		var ok bool
		if r, ok = s.gate.let(w, r, s, may); !ok {
			return
		}
	}
	s.handler.ServeHTTP(w, r)
}

func (s *Store) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/objects/{digest}", s.serveObject)
	mux.HandleFunc("POST /v1/objects/bundle", s.serveBundle)
	return mux
}

func (s *Store) serveObject(w http.ResponseWriter, r *http.Request) {
	digest := r.PathValue("digest")
	if !ValidDigest(digest) {
		http.Error(w, ErrBadDigest.Error(), http.StatusBadRequest)
		return
	}
	f, err := s.openFor(r.Context(), digest)
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, ErrNotFound) {
			code = http.StatusNotFound
		}
		http.Error(w, err.Error(), code)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+digest+`"`)
	h.Set("Cache-Control", "private, immutable")
	http.ServeContent(newRolling(w), r, "", time.Time{}, f)
}

func (s *Store) serveBundle(w http.ResponseWriter, r *http.Request) {
	digests, err := readDigests(w, r)
	if err != nil {
		http.Error(w, "read bundle request: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	out := bufio.NewWriterSize(newRolling(w), 64<<10)
	for _, digest := range digests {
		if r.Context().Err() != nil {
			return
		}
		if err := s.writeFramed(r.Context(), out, digest); err != nil {
			return // the reader is gone, and the answer cut short says so to whoever still reads
		}
	}
	_ = out.Flush()
}

// writeFramed writes one object of a bundle. A corrupt one is removed and told
// as missing, so that the reader asks elsewhere and this store heals.
func (s *Store) writeFramed(ctx context.Context, out *bufio.Writer, digest string) error {
	content, err := []byte(nil), error(ErrNotFound)
	if allowed(ctx, digest) {
		content, err = s.ReadAll(digest, bundleObject)
	}
	var head [8]byte
	if err != nil {
		binary.BigEndian.PutUint64(head[:], absent)
		_, err = out.Write(head[:])
		return err
	}
	binary.BigEndian.PutUint64(head[:], uint64(len(content)))
	if _, err := out.Write(head[:]); err != nil {
		return err
	}
	_, err = out.Write(content)
	return err
}

// absent is the length that says "not here".
const absent = ^uint64(0)

func readDigests(w http.ResponseWriter, r *http.Request) ([]string, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(writeTimeout))
	lines := bufio.NewScanner(http.MaxBytesReader(w, r.Body, bundleCount*(digestLen+1)))
	var digests []string
	for lines.Scan() {
		digest := strings.TrimSpace(lines.Text())
		if !ValidDigest(digest) {
			return nil, ErrBadDigest
		}
		digests = append(digests, digest)
	}
	_ = rc.SetReadDeadline(time.Time{})
	return digests, lines.Err()
}

// rolling renews the write deadline before each piece.
type rolling struct {
	http.ResponseWriter
	rc   *http.ResponseController
	next time.Time // when to set the deadline again
}

func newRolling(w http.ResponseWriter) *rolling {
	return &rolling{ResponseWriter: w, rc: http.NewResponseController(w)}
}

// Write implements io.Writer.
func (r *rolling) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(r.next) {
		_ = r.rc.SetWriteDeadline(now.Add(writeTimeout)) // a writer without deadlines has nobody to wait for
		r.next = now.Add(time.Second)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *rolling) Unwrap() http.ResponseWriter { return r.ResponseWriter }
