package streams

import (
	"net/http"
	"time"
)

// Text sends text as it comes, each part within a deadline. The answer
// begins with the first byte, so that an error before it can be told.
type Text struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	kind  string
	Begun bool
}

// NewText returns a writer of a content type.
func NewText(w http.ResponseWriter, kind string) *Text {
	return &Text{w: w, rc: http.NewResponseController(w), kind: kind}
}

// Write implements io.Writer.
func (s *Text) Write(p []byte) (int, error) {
	if !s.Begun {
		s.Begun = true
		s.w.Header().Set("Content-Type", s.kind)
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(30 * time.Second))
	defer func() { _ = s.rc.SetWriteDeadline(time.Time{}) }() // as in Events.Send
	n, err := s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}
