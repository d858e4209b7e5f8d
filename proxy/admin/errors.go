package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"portico/deployhook/reply"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// fail turns an error into its answer: the one place where that happens.
func (s *Server) fail(c *call, err error) {
	e := errorOf(err)
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		s.log.Error("admin request failed", "path", c.r.URL.Path, "error", err)
	}
	if c.rt.page && strings.Contains(c.r.Header.Get("Accept"), "text/html") {
		s.errorPage(c, e)
		return
	}
	api.WriteError(c.w, e)
}

// errorOf finds status and code for an error of the packages below.
func errorOf(err error) *refusal.Error {
	var e *refusal.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, catalog.ErrNotFound):
		return missing(catalog.Text(err))
	case errors.Is(err, catalog.ErrExists), errors.Is(err, catalog.ErrConflict):
		return refusal.New(http.StatusConflict, "conflict", "", "%s", catalog.Text(err))
	case errors.Is(err, catalog.ErrInvalid):
		return refusal.BadRequest("", "%s", catalog.Text(err))
	}
	if e = reply.Unavailable(err); e != nil && e.Code == "unavailable" {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return refusal.New(http.StatusGatewayTimeout, "timeout", "", "%v", err)
	}
	return refusal.New(http.StatusInternalServerError, "internal", "the proxy's log may have more", "%v", err)
}

// missing is the refusal of a name that the catalog does not have, with where the right ones are.
func missing(text string) *refusal.Error {
	what, found := strings.CutSuffix(text, ": "+catalog.ErrNotFound.Error())
	if !found {
		return refusal.NotFound("", "%s", text)
	}
	kind, _, _ := strings.Cut(what, " ")
	hint := map[string]string{
		"site": "portico sites lists them", "member": "portico members lists them", "account": "portico account lists them",
		"token": "portico token lists them", "invite": "portico invite list shows them", "deploy": "portico deploys lists them",
	}[kind]
	return refusal.NotFound(hint, "there is no %s", what)
}
