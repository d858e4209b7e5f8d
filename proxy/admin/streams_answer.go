package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"portico/proxy/admin/api"
)

// statusWriter remembers the status for the audit log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bufferedAnswer keeps the receiver's answer, which is for programs. Deadlines go through to
// the connection.
type bufferedAnswer struct {
	http.ResponseWriter
	header http.Header
	body   bytes.Buffer
	status int
}

func newBufferedAnswer(w http.ResponseWriter) *bufferedAnswer {
	return &bufferedAnswer{ResponseWriter: w, header: http.Header{}}
}

func (w *bufferedAnswer) Header() http.Header         { return w.header }
func (w *bufferedAnswer) WriteHeader(status int)      { w.status = status }
func (w *bufferedAnswer) Write(p []byte) (int, error) { return w.body.Write(p) }

// Unwrap lets http.ResponseController reach the connection.
func (w *bufferedAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// err is the refusal that the answer tells.
func (w *bufferedAnswer) err() error {
	var told struct {
		Error *api.Error `json:"error"`
	}
	if err := json.Unmarshal(w.body.Bytes(), &told); err != nil || told.Error == nil {
		return errors.New("the receiver refused the archive and did not say why")
	}
	told.Error.Status = w.status
	return told.Error
}
