package upload

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"portico/internal/refusal"
)

const (
	// spoolIdle is how long an upload may stand still. The deadline moves with
	// every piece, so a large upload over a slow line may take its time.
	spoolIdle = 60 * time.Second
	// spoolGrace and spoolRate refuse an upload that drips: after the grace it
	// must have come at this many bytes a second on average, which a modem does.
	spoolGrace       = 60 * time.Second
	spoolRate  int64 = 2 << 10
)

// Spooled is an upload on disk.
type Spooled struct {
	file   *os.File
	size   int64
	sha256 []byte
}

// Discard removes the upload.
func (s *Spooled) Discard() {
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
}

// Receive writes the body of a request to a temporary file in dir, limit bytes at most, and checks the
// digest that the client may have sent. What goes wrong leaves nothing behind.
func Receive(w http.ResponseWriter, r *http.Request, dir string, limit int64) (*Spooled, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	want, err := wantedDigest(r.Header)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "upload-")
	if err != nil {
		return nil, fmt.Errorf("spool upload: %w", err)
	}
	s := &Spooled{file: f}
	if err := s.fill(http.MaxBytesReader(w, r.Body, limit), newPace(w)); err != nil {
		s.Discard()
		return nil, err
	}
	switch {
	case s.size == 0:
		err = refusal.New(http.StatusBadRequest, "empty", "send the archive as the body: curl -T site.zip …", "the request has no body")
	case r.ContentLength >= 0 && s.size != r.ContentLength:
		err = refusal.New(http.StatusBadRequest, "interrupted", "send it again", "the upload ended at %d of %d bytes", s.size, r.ContentLength)
	case want != nil && !strings.EqualFold(hex.EncodeToString(want), hex.EncodeToString(s.sha256)):
		err = refusal.New(http.StatusUnprocessableEntity, "digest_mismatch", "the archive changed on its way or while it was read: send it again",
			"the upload has the SHA-256 %x, its header says %x", s.sha256, want)
	}
	if err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

// fill copies body to the file. It does not flush: the archive is only the
// wrapping, and what is in it is flushed as objects.
func (s *Spooled) fill(body io.Reader, p *pace) error {
	hash := sha256.New()
	buf := make([]byte, 128<<10)
	for {
		if err := p.next(s.size); err != nil {
			return err
		}
		n, err := body.Read(buf)
		hash.Write(buf[:n])
		s.size += int64(n)
		if _, werr := s.file.Write(buf[:n]); werr != nil {
			return fmt.Errorf("spool upload: %w", werr)
		}
		var tooBig *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			s.sha256 = hash.Sum(nil)
			p.end()
			return nil
		case errors.As(err, &tooBig):
			return err
		case errors.Is(err, os.ErrDeadlineExceeded):
			return refusal.New(http.StatusRequestTimeout, "too_slow", "", "the upload stood still for %s after %d bytes", spoolIdle, s.size)
		case err != nil:
			return &refusal.Error{
				Status: http.StatusBadRequest, Code: "interrupted", Message: fmt.Sprintf("the upload broke off after %d bytes", s.size),
				Hint: "send it again; nothing was installed", Err: err,
			}
		}
	}
}

// pace keeps the deadline of an upload moving, and ends one that drips.
type pace struct {
	rc    *http.ResponseController
	begun time.Time
	set   time.Time
}

func newPace(w http.ResponseWriter) *pace {
	return &pace{rc: http.NewResponseController(w), begun: time.Now()}
}

func (p *pace) next(done int64) error {
	now := time.Now()
	if spent := now.Sub(p.begun); spent > spoolGrace && done < int64(spent.Seconds())*spoolRate {
		return refusal.New(http.StatusRequestTimeout, "too_slow", "", "the upload comes at less than %d bytes a second", spoolRate)
	}
	if now.Sub(p.set) > time.Second {
		p.set = now
		// Without deadlines (a test's recorder) there is nobody to be slow.
		_ = p.rc.SetReadDeadline(now.Add(spoolIdle))
	}
	return nil
}

// end hands the connection back without a deadline of this request.
func (p *pace) end() { _ = p.rc.SetReadDeadline(time.Time{}) }

// wantedDigest reads Content-Digest (RFC 9530) or the older Digest (RFC 3230).
// Algorithms other than SHA-256 are not looked at, as both documents say.
func wantedDigest(h http.Header) ([]byte, error) {
	for _, field := range []string{"Content-Digest", "Digest"} {
		for _, line := range h.Values(field) {
			for item := range strings.SplitSeq(line, ",") {
				name, value, ok := strings.Cut(strings.TrimSpace(item), "=")
				if !ok || !strings.EqualFold(name, "sha-256") {
					continue
				}
				sum, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
				if err != nil || len(sum) != sha256.Size {
					return nil, refusal.New(http.StatusBadRequest, "invalid", "", "%s has no SHA-256 in base64: %q", field, value)
				}
				return sum, nil
			}
		}
	}
	return nil, nil
}
