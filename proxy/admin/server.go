package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"portico/deployhook/reply"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/page"
	"portico/proxy/admin/proxies"
)

// Server is the admin listener's handler. It owns no goroutine that outlives a request.
type Server struct {
	o          Options
	log        *slog.Logger
	hosts      map[string]bool
	table      []route
	mux        *http.ServeMux
	members    *http.ServeMux
	protection *http.CrossOriginProtection
	gate       *access.Gate
	uploads    chan struct{}
	page       *page.Page
	all        *proxies.All
	deeds      *deeds.Deeds
}

// maxUploads is how many archives are taken at once; more would only share the
// disk. The next caller is told to come back.
const maxUploads = 16

// New returns the handler.
func New(o Options) (*Server, error) {
	if o.Catalog == nil {
		return nil, errors.New("make admin handler: no catalog")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	gate, err := access.NewGate(o.Catalog, o.Logger, o.LoginKey)
	if err != nil {
		return nil, fmt.Errorf("make admin handler: %w", err)
	}
	html, err := page.New()
	if err != nil {
		return nil, fmt.Errorf("make admin handler: %w", err)
	}
	s := &Server{
		o: o, log: o.Logger, hosts: map[string]bool{"localhost": true}, table: routes(),
		mux: http.NewServeMux(), members: http.NewServeMux(), protection: http.NewCrossOriginProtection(),
		gate: gate, uploads: make(chan struct{}, maxUploads), page: html,
		all:   &proxies.All{Catalog: o.Catalog, Balancer: o.Balancer, Now: o.Now, Snapshot: o.Snapshot, PoolOf: o.Pool, UsedWithin: o.Recent, Ask: o.AskOthers},
		deeds: &deeds.Deeds{Catalog: o.Catalog, Admission: o.Admission, Deploys: o.Deploys, Drains: o.Drains},
	}
	if o.Drains != nil {
		s.all.EndedDrains = o.Drains.EndedDrains
	}
	for _, h := range o.Hosts {
		s.hosts[strings.TrimSuffix(strings.ToLower(h), ".")] = true
	}
	for i := range s.table {
		rt := &s.table[i]
		s.mux.HandleFunc(rt.Pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, rt) })
	}
	for pattern, h := range o.Members {
		s.members.Handle(pattern, h)
	}
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.recovered(w, r)
	access.SecureHeaders(w.Header())
	if !access.PathClean(r) {
		api.WriteError(w, refusal.BadRequest("write it without dot segments, double slashes and escaped delimiters", "the path %q has more than one reading", r.URL.EscapedPath()))
		return
	}
	if _, pattern := s.members.Handler(r); pattern != "" {
		// Members prove who they are by certificate and address this proxy by
		// whatever name they were given, so the guards against browsers are
		// not for them.
		r.Body = http.MaxBytesReader(w, r.Body, memberBody)
		s.members.ServeHTTP(w, r)
		return
	}
	if !access.HostAllowed(r.Host, s.hosts) {
		api.WriteError(w, refusal.New(http.StatusMisdirectedRequest, "misdirected", "add the name to the admin listener's hosts, or use the address", "this listener is not called %q", r.Host))
		return
	}
	if suffix, ok := statsSuffix(r.URL.Path); ok {
		r = withSuffix(r, suffix)
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.noRoute(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// AnswerPeer answers another proxy of the cluster. Who asks has been checked.
func (s *Server) AnswerPeer(what string, in json.RawMessage) (any, error) {
	return s.all.Answer(what, in)
}

// MovedSessions tells the other proxies where sessions are now, so that nobody waits for them
// where they were.
func (s *Server) MovedSessions(ctx context.Context, list []proxies.Moved) { s.all.TellMoved(ctx, list) }

// memberBody is the most that a member may send: a report with the tails of
// logs. The knock has a smaller limit of its own.
const memberBody = 8 << 20

func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	e := recover()
	if e == nil {
		return
	}
	if e == http.ErrAbortHandler { // a panic value, compared as net/http does
		panic(e)
	}
	s.log.Error("admin handler panicked", "path", r.URL.Path, "panic", fmt.Sprint(e), "stack", string(debug.Stack()))
	api.WriteError(w, refusal.New(http.StatusInternalServerError, "internal", "the proxy's log has the details", "something broke while answering"))
}

// noRoute tells an unknown path from a known one with another method.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(probe); pattern != "" {
			allow = append(allow, m)
		}
	}
	if len(allow) == 0 {
		api.WriteError(w, refusal.NotFound("docs/api.md lists the routes", "there is no route %q", r.URL.Path))
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	api.WriteError(w, refusal.New(http.StatusMethodNotAllowed, "method", "use "+strings.Join(allow, " or "), "%s is not possible here", r.Method))
}

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
