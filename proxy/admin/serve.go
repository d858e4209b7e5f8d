package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"portico/internal/refusal"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
)

// serve takes one request through its route: guards, credential, permission,
// body, handler, audit.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route) {
	c := &call{w: w, r: r, rt: rt, now: s.o.Now(), from: access.ClientAddr(r)}
	rc := http.NewResponseController(w)
	if !rt.stream {
		_ = rc.SetWriteDeadline(c.now.Add(answerTime))
	}
	if reason := access.CrossSite(s.protection, r, false); reason != "" {
		s.log.Warn("cross-site request refused", "from", c.from, "path", r.URL.Path, "reason", reason)
		api.WriteError(w, refusal.New(http.StatusForbidden, "cross_site", "", "%s", reason))
		return
	}
	who, refused := s.gate.Authenticate(w, r, c.now)
	if who != nil && s.o.Known != nil {
		s.o.Known(r)
	}
	if refused == nil {
		c.who = who
		refused = s.admit(c)
	}
	if refused == nil {
		refused = readBody(c, rc)
	}
	if refused == nil && rt.form {
		refused = s.checkForm(c)
	}
	if refused != nil {
		s.refuse(c, refused)
		return
	}
	c.dry = r.URL.Query().Get("dry_run") == "1"
	if who != nil {
		r = r.WithContext(context.WithValue(r.Context(), actorKey{}, Actor{Account: who.Account, From: c.from}))
		c.r = r
	}
	if who != nil {
		if err := s.current(c); err != nil {
			s.fail(c, err)
			return
		}
	}
	if who != nil && rt.stream {
		defer s.whileGood(c)()
	}
	err := ended(c, rt.do(s, c))
	if rt.Changes() && rt.action != "" && !c.dry && !c.quiet {
		s.record(c, err)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// admit checks permission and what a change by login needs on top.
func (s *Server) admit(c *call) *refusal.Error {
	if e := c.rt.May(c.who, c.r.PathValue("site")); e != nil {
		return e
	}
	if !c.rt.Changes() || c.rt.Need == access.Nobody || !c.who.LoggedIn() {
		return nil
	}
	if reason := access.CrossSite(s.protection, c.r, true); reason != "" {
		return refusal.New(http.StatusForbidden, "cross_site", "", "%s", reason)
	}
	if c.rt.form || c.rt.multipart {
		return nil // the token is in the form, see checkForm and archiveForm
	}
	if !s.gate.CSRFGood(c.who, c.r.Header.Get("Portico-Csrf")) {
		return refusal.New(http.StatusForbidden, "csrf", "send the page's token in Portico-Csrf, or use a bearer token", "a change by cookie needs its token")
	}
	return nil
}

// checkForm parses a form and checks its token. The login form itself has no
// login to bind a token to; Origin and SameSite guard it.
func (s *Server) checkForm(c *call) *refusal.Error {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return refusal.BadRequest("", "the form cannot be read")
	}
	c.r.PostForm, c.r.Form = form, form
	if c.rt.Need == access.Nobody {
		return nil
	}
	if !c.who.LoggedIn() {
		return refusal.Forbidden("use /v1 with a token", "forms are for the page's login")
	}
	if !s.gate.CSRFGood(c.who, form.Get("csrf")) {
		return refusal.New(http.StatusForbidden, "csrf", "load the page again", "the form's token is missing or old")
	}
	return nil
}

// refuse answers a request that is not let in: browsers that want the page are
// sent to the login.
func (s *Server) refuse(c *call, e *refusal.Error) {
	if e.Status == http.StatusUnauthorized {
		if c.rt.page && strings.Contains(c.r.Header.Get("Accept"), "text/html") {
			http.Redirect(c.w, c.r, "/login", http.StatusSeeOther)
			return
		}
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="portico"`)
	}
	if c.rt.page && strings.Contains(c.r.Header.Get("Accept"), "text/html") {
		s.errorPage(c, e)
		return
	}
	api.WriteError(c.w, e)
}

// readBody reads a bounded body whole, within a deadline, so that no handler
// waits for a client. Streams are the handler's.
func readBody(c *call, rc *http.ResponseController) *refusal.Error {
	if c.rt.body == bodyStream {
		return nil
	}
	if c.rt.body == 0 || c.r.Body == nil || c.r.Body == http.NoBody {
		if c.r.ContentLength > 0 {
			return refusal.BadRequest("", "this takes no body")
		}
		return nil
	}
	_ = rc.SetReadDeadline(c.now.Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, c.rt.body))
	_ = rc.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return refusal.New(http.StatusRequestEntityTooLarge, "too_large", "", "the body is larger than %d bytes", c.rt.body)
	case err != nil && api.IsTimeout(err):
		c.w.Header().Set("Connection", "close")
		return refusal.New(http.StatusRequestTimeout, "timeout", "", "the body did not arrive within %s", bodyTime)
	case err != nil:
		return refusal.BadRequest("", "the body broke off")
	}
	c.body = body
	want := "application/json"
	if c.rt.form {
		want = "application/x-www-form-urlencoded"
	}
	if len(body) > 0 && access.MediaType(c.r) != want {
		return refusal.New(http.StatusUnsupportedMediaType, "media_type", "send Content-Type: "+want, "this takes %s", want)
	}
	return nil
}
