package admin

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"portico/proxy/admin/api"
)

//go:embed page
var pageFiles embed.FS

// pages are the parsed templates and the files that they load. Everything that
// is shown goes through html/template, so that no name can become markup.
type pages struct {
	templates *template.Template
	assets    map[string][]byte
}

func newPages() (*pages, error) {
	t, err := template.New("").Funcs(formats).ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return nil, err
	}
	p := &pages{templates: t, assets: map[string][]byte{}}
	for _, name := range []string{"page.css", "page.js"} {
		if p.assets[name], err = pageFiles.ReadFile("page/" + name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// show answers with a template.
func (s *Server) show(c *call, status int, name string, data any) error {
	var b bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // the client is gone: nobody to tell
	return nil
}

func (s *Server) asset(c *call) error {
	name := c.r.PathValue("file")
	b, ok := s.pages.assets[name]
	if !ok {
		return api.NotFound("", "there is no file %q", name)
	}
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Cache-Control", "no-cache")
	_, _ = c.w.Write(b) // likewise
	return nil
}

type suffixKey struct{}

// statsSuffix returns the options behind the page's address. Readers of HAProxy's CSV add them to whatever they are given: Telegraf
// "/;csv", netdata and Datadog "/;csv;norefresh", also to an address that ends in "/".
func statsSuffix(path string) (options string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/stats")
	rest = strings.TrimLeft(rest, "/")
	if !ok || rest == "" {
		return "", ok && path != "/stats"
	}
	return strings.CutPrefix(rest, ";")
}

// withSuffix turns HAProxy's way of writing options, /stats;csv;norefresh, into
// a request for /stats.
func withSuffix(r *http.Request, suffix string) *http.Request {
	r = r.Clone(context.WithValue(r.Context(), suffixKey{}, strings.Split(suffix, ";")))
	r.URL.Path, r.URL.RawPath = "/stats", ""
	return r
}

// option reports whether the page was asked for with one of HAProxy's options.
func (c *call) option(name string) bool {
	list, _ := c.r.Context().Value(suffixKey{}).([]string)
	return slices.Contains(list, name)
}

// statsPage answers /stats in the form that was asked for.
func (s *Server) statsPage(c *call) error {
	if list, ok := c.r.Context().Value(suffixKey{}).([]string); ok {
		for _, o := range list {
			if !slices.Contains([]string{"", "csv", "json", "up", "no-maint", "norefresh"}, o) {
				return api.NotFound("use csv, json, up, no-maint or norefresh", "the page has no option %q", o)
			}
		}
	}
	switch {
	case c.option("csv"):
		return s.statsCSV(c)
	case c.option("json"):
		return s.statsJSON(c)
	}
	name := "stats"
	if c.r.URL.Query().Get("fragment") == "1" {
		name = "live"
	}
	return s.show(c, http.StatusOK, name, s.statsView(c))
}

type loginView struct {
	Title, Error, Next string
	Refresh            bool
}

func (s *Server) loginPage(c *call) error {
	if c.who != nil && c.who.LoggedIn() {
		http.Redirect(c.w, c.r, "/stats", http.StatusSeeOther)
		return nil
	}
	return s.show(c, http.StatusOK, "login", loginView{Title: "Log in · portico", Next: safeNext(c.r.URL.Query().Get("next"))})
}

func (s *Server) showLogin(c *call, e *api.Error, next string) error {
	return s.show(c, e.Status, "login", loginView{Title: "Log in · portico", Error: e.Error(), Next: next})
}

// errorPage tells a browser what the API would tell a program.
func (s *Server) errorPage(c *call, e *api.Error) {
	err := s.show(c, e.Status, "error", struct {
		Title, Heading, Error, Hint string
		Refresh                     bool
	}{Title: "portico", Heading: http.StatusText(e.Status), Error: e.Message, Hint: e.Hint})
	if err != nil {
		api.WriteError(c.w, e)
	}
}

func age(d time.Duration) string { return formatAge(max(0, d)) }
