// Package refusal is the error that a client of the API is told: a status, a word for programs, a sentence for people, and what to do
// about it.
package refusal

import (
	"fmt"
	"net/http"
)

// Error is what the API answers when it does not do what was asked, as {"error":{"code","message","hint"}}. The client returns it for
// such an answer.
type Error struct {
	Status  int    `json:"-"`              // HTTP status; 0 where no answer came
	Code    string `json:"code"`           // a word for programs: "not_found", "too_large" …
	Message string `json:"message"`        // what happened, naming the value
	Hint    string `json:"hint,omitempty"` // what to do about it, may be empty
	Err     error  `json:"-"`              // what was under it, may be nil; clients are not told
}

// Error returns the message, with the hint in parentheses.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Unwrap returns what was under it.
func (e *Error) Unwrap() error { return e.Err }

// New makes the answer to a request that is not done.
func New(status int, code, hint, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// BadRequest refuses what was sent.
func BadRequest(hint, format string, args ...any) *Error {
	return New(http.StatusBadRequest, "bad_request", hint, format, args...)
}

// NotFound refuses a name that nothing has.
func NotFound(hint, format string, args ...any) *Error {
	return New(http.StatusNotFound, "not_found", hint, format, args...)
}

// Forbidden refuses a caller who may not.
func Forbidden(hint, format string, args ...any) *Error {
	return New(http.StatusForbidden, "forbidden", hint, format, args...)
}

// NotOffered refuses what this process is not made for.
func NotOffered(what string) *Error {
	return New(http.StatusNotImplemented, "not_offered", "", "this process offers no %s", what)
}
