package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"portico/internal/refusal"
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
