package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// Error is what the API answers when it does not do what was asked, as
// {"error":{"code","message","hint"}}, and what the client returns for such an
// answer.
type Error struct {
	Status  int    `json:"-"`       // HTTP status; 0 where no answer came
	Code    string `json:"code"`    // a word for programs: "not_found", "forbidden" …
	Message string `json:"message"` // what happened, naming the value
	Hint    string `json:"hint,omitempty"`
}

// Error returns the message, with the hint in parentheses.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// ExitCode returns the exit code of a command that ends with err: 0 for nil, 3
// where the cluster refused permission, 4 where time ran out, else 1.
func ExitCode(err error) int {
	var e *Error
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

// Failf makes the answer of a request that is not done.
func Failf(status int, code, hint, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// BadRequest refuses what was sent.
func BadRequest(hint, format string, args ...any) *Error {
	return Failf(http.StatusBadRequest, "bad_request", hint, format, args...)
}

// NotFound refuses a name that nothing has.
func NotFound(hint, format string, args ...any) *Error {
	return Failf(http.StatusNotFound, "not_found", hint, format, args...)
}

// Forbidden refuses a caller who may not.
func Forbidden(hint, format string, args ...any) *Error {
	return Failf(http.StatusForbidden, "forbidden", hint, format, args...)
}

// NotOffered refuses what this process is not made for.
func NotOffered(what string) *Error {
	return Failf(http.StatusNotImplemented, "not_offered", "", "this process offers no %s", what)
}

// WriteError answers with e as JSON.
func WriteError(w http.ResponseWriter, e *Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Del("Content-Length")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]*Error{"error": e})
}
