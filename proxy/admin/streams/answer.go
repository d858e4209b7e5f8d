package streams

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"portico/internal/refusal"
)

// Watched remembers the status for the audit log.
type Watched struct {
	http.ResponseWriter
	Status int
}

// WriteHeader implements http.ResponseWriter.
func (w *Watched) WriteHeader(status int) {
	if w.Status == 0 {
		w.Status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *Watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Buffered keeps the receiver's answer, which is for programs. Deadlines go through to
// the connection.
type Buffered struct {
	http.ResponseWriter
	header http.Header
	body   bytes.Buffer
	Status int
}

// NewBuffered returns one that w does not get.
func NewBuffered(w http.ResponseWriter) *Buffered {
	return &Buffered{ResponseWriter: w, header: http.Header{}}
}

// Header implements http.ResponseWriter.
func (w *Buffered) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *Buffered) WriteHeader(status int) { w.Status = status }

// Write implements http.ResponseWriter.
func (w *Buffered) Write(p []byte) (int, error) { return w.body.Write(p) }

// Unwrap lets http.ResponseController reach the connection.
func (w *Buffered) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Err is the refusal that the answer tells.
func (w *Buffered) Err() error {
	var told struct {
		Error *refusal.Error `json:"error"`
	}
	if err := json.Unmarshal(w.body.Bytes(), &told); err != nil || told.Error == nil {
		return errors.New("the receiver refused the archive and did not say why")
	}
	told.Error.Status = w.Status
	return told.Error
}
