package admin

import (
	"net/http"
	"time"
)

// streamWriter sends text as it comes, each part within a deadline. The answer
// begins with the first byte, so that an error before it can be told.
type streamWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	kind  string
	begun bool
}

func newStreamWriter(w http.ResponseWriter, kind string) *streamWriter {
	return &streamWriter{w: w, rc: http.NewResponseController(w), kind: kind}
}

func (s *streamWriter) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", s.kind)
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(30 * time.Second))
	defer func() { _ = s.rc.SetWriteDeadline(time.Time{}) }() // as in eventStream.send
	n, err := s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}
