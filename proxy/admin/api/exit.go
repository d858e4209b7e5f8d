package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	"portico/internal/refusal"
)

// ExitCode returns the exit code of a command that ends with err: 0 for nil, 3
// where the cluster refused permission, 4 where time ran out, else 1.
func ExitCode(err error) int {
	var e *refusal.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
		return 3
	case errors.As(err, &e) && (e.Status == http.StatusGatewayTimeout || e.Status == http.StatusRequestTimeout),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), IsTimeout(err):
		return 4
	}
	return 1
}

// IsTimeout reports whether an error is that of a deadline.
func IsTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// WriteError answers with e as JSON.
func WriteError(w http.ResponseWriter, e *refusal.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Del("Content-Length")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]*refusal.Error{"error": e})
}
