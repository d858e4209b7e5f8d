package start

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"portico/cmd/portico/screen"
	"portico/internal/exitcode"

	"github.com/spf13/cobra"
)

//go:embed demo.html
var demoPage string

// demoIdle is how long the demonstration site remembers a visitor.
const demoIdle = 30 * time.Minute

// demoMaxVisitors bounds its memory: past it, the visitor unseen for longest is forgotten.
const demoMaxVisitors = 10_000

// demoSite is an application of the kind portico exists for: it keeps its
// visitors' sessions in its own memory and knows nothing of other servers.
type demoSite struct {
	page    *template.Template
	server  string
	release string
	started time.Time

	mu       sync.Mutex
	visitors map[string]*demoVisitor // guarded by mu
}

type demoVisitor struct {
	views int
	last  time.Time
}

// NewDemoSite makes the command portico demo-site.
func NewDemoSite() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-site",
		Short:  "Run the demonstration site on $PORT (the agent starts it)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			site := &demoSite{
				page:     template.Must(template.New("demo").Parse(demoPage)),
				server:   os.Getenv("PORTICO_MEMBER"),
				release:  os.Getenv("PORTICO_RELEASE"),
				started:  time.Now(),
				visitors: make(map[string]*demoVisitor),
			}
			port := os.Getenv("PORT")
			if port == "" {
				return exitcode.Misuse(fmt.Errorf("PORT is not set: the agent sets it when it starts the site"))
			}
			ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
			if err != nil {
				return fmt.Errorf("listen on port %s: %w", port, err)
			}
			return serveUntil(cmd.Context(), &http.Server{Handler: site.handler(), ReadHeaderTimeout: 10 * time.Second}, ln)
		},
	}
}

func (s *demoSite) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveVisit)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

// serveVisit counts one view of one visitor. "?json" answers with data for scripts.
func (s *demoSite) serveVisit(w http.ResponseWriter, r *http.Request) {
	id := ""
	if c, err := r.Cookie("demo-session"); err == nil {
		id = c.Value
	}
	id, views, visitors := s.count(id, time.Now())
	http.SetCookie(w, &http.Cookie{Name: "demo-session", Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	w.Header().Set("Cache-Control", "no-store")
	visit := struct {
		Server   string `json:"server"`
		Release  string `json:"release"`
		Views    int    `json:"views"`
		Visitors int    `json:"visitors"`
		Process  int    `json:"process"`
		Started  string `json:"started"`
		Lost     string `json:"lost,omitempty"`
	}{s.server, screen.ShortDigest(s.release), views, visitors, os.Getpid(), s.started.Format(time.TimeOnly), r.Header.Get("Portico-Session-Lost")}
	if r.URL.Query().Has("json") {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(visit)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = s.page.Execute(w, visit)
}

// count adds a view to the visitor named id, or to a new one if this process does not know it.
func (s *demoSite) count(id string, now time.Time) (newID string, views, visitors int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.visitors[id]
	if v == nil {
		s.forgetLocked(now)
		id, v = rand.Text(), &demoVisitor{}
		s.visitors[id] = v
	}
	v.views++
	v.last = now
	return id, v.views, len(s.visitors)
}

// forgetLocked drops the visitors who are idle, and the stalest one when the site is full.
func (s *demoSite) forgetLocked(now time.Time) {
	oldest, at := "", now
	for id, v := range s.visitors {
		if now.Sub(v.last) > demoIdle {
			delete(s.visitors, id)
		} else if v.last.Before(at) {
			oldest, at = id, v.last
		}
	}
	if len(s.visitors) >= demoMaxVisitors {
		delete(s.visitors, oldest)
	}
}

// serveUntil serves until ctx ends, then lets running requests finish.
func serveUntil(ctx context.Context, server *http.Server, ln net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(end)
}
