// Package reply is how deploys, uploads and members are answered: JSON, and of every error what its client is told. Nothing is
// decided here, and what an answer holds is with the handlers.
package reply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"portico/conf"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/refusal"
	"portico/membership/catalog"
)

// RefusalOf turns any error of a deploy or an upload into what a client is told. Errors
// that are the program's own are 500 and say no more than that.
func RefusalOf(err error) *refusal.Error {
	var known *refusal.Error
	var refused *archive.RefusedError
	var mistakes conf.Mistakes
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refused) && refused.TooLarge:
		return because(err, http.StatusRequestEntityTooLarge, "too_large", err.Error(), "leave out what the site does not need with exclude in portico.toml, or raise the limits under [upload]")
	case errors.As(err, &refused):
		hint := "nothing was installed; pack the folder again without that entry"
		if refused.Entry == "" {
			hint = "nothing was installed; pack the folder again, or deploy the folder itself"
		}
		return because(err, http.StatusUnprocessableEntity, "archive_refused", err.Error(), hint)
	case errors.As(err, &mistakes):
		return because(err, http.StatusUnprocessableEntity, "bad_manifest", err.Error(), "correct what is named and deploy again; nothing was installed")
	case errors.As(err, &tooBig):
		return because(err, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the upload is larger than %d bytes", tooBig.Limit), "raise archive under [upload] in the proxy's configuration")
	case objects.DiskFull(err):
		return because(err, http.StatusInsufficientStorage, "disk_full", "the proxy's disk is full", "free space below the proxy's --dir; nothing was installed and what runs was not touched")
	case errors.Is(err, catalog.ErrNotFound):
		return because(err, http.StatusNotFound, "not_found", catalog.Text(err), "")
	case errors.Is(err, catalog.ErrConflict), errors.Is(err, catalog.ErrExists):
		return because(err, http.StatusConflict, "conflict", catalog.Text(err), "")
	case errors.Is(err, catalog.ErrInvalid):
		return because(err, http.StatusBadRequest, "invalid", catalog.Text(err), "")
	}
	if e := Unavailable(err); e != nil {
		return e
	}
	return because(err, http.StatusInternalServerError, "internal", "the proxy could not do it", "its log has the reason")
}

// because makes the refusal that err leads to.
func because(err error, status int, code, message, hint string) *refusal.Error {
	return &refusal.Error{Status: status, Code: code, Message: message, Hint: hint, Err: err}
}

// Unavailable is the refusal of what the catalog could not do at the moment, nil for any
// other error. It says whether a change may have been made.
func Unavailable(err error) *refusal.Error {
	if err == nil {
		return nil
	}
	e := because(err, http.StatusServiceUnavailable, "unavailable", catalog.Text(err), "nothing was changed; try again")
	switch {
	case errors.Is(err, catalog.ErrUncertain):
		e.Hint = "look whether it was made, then try again"
	case errors.Is(err, catalog.ErrNoMajority):
		e.Hint = "nothing was changed"
	case errors.Is(err, catalog.ErrPassing):
		e.Hint = "nothing was changed; make room or raise LimitNOFILE, then try again, or ask another proxy"
	case errors.Is(err, catalog.ErrBroken):
		e.Hint = "nothing was changed; make room or repair the disk, then restart this proxy, or ask another one"
	case errors.Is(err, catalog.ErrNoAnswer), errors.Is(err, catalog.ErrClosed):
	case errors.Is(err, context.DeadlineExceeded):
		e.Code, e.Message = "timeout", "the proxy did not finish in time"
		e.Hint = "look whether it was made, then try again; if it lasts, look at the proxies' logs"
	default:
		return nil
	}
	return e
}

// Error answers with err in the form of the API.
func Error(w http.ResponseWriter, err error) {
	e := RefusalOf(err)
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	JSON(w, e.Status, map[string]*refusal.Error{"error": e})
}

// Time is how long an answer may take to leave.
const Time = 30 * time.Second

// Within replaces the server's deadline for the answer by one that fits a
// request that may take this long.
func Within(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d)) // a writer without deadlines has none in the way
}

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client is gone, and nobody else waits for it
}
