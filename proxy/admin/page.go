package admin

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
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
		return notFound("", "there is no file %q", name)
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
				return notFound("use csv, json, up, no-maint or norefresh", "the page has no option %q", o)
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
	if c.who != nil && c.who.login != nil {
		http.Redirect(c.w, c.r, "/stats", http.StatusSeeOther)
		return nil
	}
	return s.show(c, http.StatusOK, "login", loginView{Title: "Log in · portico", Next: safeNext(c.r.URL.Query().Get("next"))})
}

func (s *Server) showLogin(c *call, e *Error, next string) error {
	return s.show(c, e.Status, "login", loginView{Title: "Log in · portico", Error: e.Error(), Next: next})
}

// errorPage tells a browser what the API would tell a program.
func (s *Server) errorPage(c *call, e *Error) {
	err := s.show(c, e.Status, "error", struct {
		Title, Heading, Error, Hint string
		Refresh                     bool
	}{Title: "portico", Heading: http.StatusText(e.Status), Error: e.Message, Hint: e.Hint})
	if err != nil {
		writeError(c.w, e)
	}
}

// verbView is one of the buttons beside a member, and its question.
type verbView struct {
	Verb, Text, Question, Effect, Done string
	Danger, Reason                     bool
}

func verbs() []verbView {
	return []verbView{
		{Verb: VerbAccept, Text: "Accept", Question: "Accept %s into the cluster?", Done: "%s was accepted.",
			Effect: "It gets a certificate, the cluster's settings and every site. Compare its key with what the machine shows first."},
		{Verb: VerbRefuse, Text: "Refuse", Question: "Turn %s away?", Done: "%s was refused.", Danger: true, Reason: true,
			Effect: "It is told so and gets nothing. It may knock again with another key."},
		{Verb: VerbDrain, Text: "Drain", Question: "Drain %s?", Done: "%s drains: it keeps its sessions and takes no new ones.",
			Effect: "Visitors who have a session stay until it ends. New visitors go elsewhere."},
		{Verb: VerbReady, Text: "Ready", Question: "Take %s back into rotation?", Done: "%s takes new visitors again.",
			Effect: "New visitors come as soon as its checks pass."},
		{Verb: VerbMaint, Text: "Maint", Question: "Put %s into maintenance?", Done: "%s is in maintenance.", Danger: true,
			Effect: "It takes nothing from now on: its visitors move to other instances and lose what only it remembered. To let them end first, drain it."},
		{Verb: VerbRevoke, Text: "Revoke", Question: "Revoke %s for good?", Done: "%s was revoked.", Danger: true, Reason: true,
			Effect: "Its certificate is worthless at once on every proxy and member, and the gossip key changes. It can come back only with a new key and a new acceptance."},
	}
}

func verbOf(name string) (verbView, bool) {
	i := slices.IndexFunc(verbs(), func(v verbView) bool { return v.Verb == name })
	if i < 0 {
		return verbView{}, false
	}
	return verbs()[i], true
}

// mayAct is the permission that the API's route for a verb asks for.
func (s *Server) mayAct(who *identity, verb string) *Error {
	for i := range s.table {
		if s.table[i].pattern == "POST /v1/members/{member}/"+verb {
			return permit(who, &s.table[i], "")
		}
	}
	return notFound("", "there is no verb %q", verb)
}

type confirmView struct {
	Title, Question, Effect, Button, Verb, Name, CSRF string
	Danger, AsksReason, Refresh                       bool
	Member                                            *MemberInfo
	Forecast                                          *Forecast
}

// confirmPage asks before anything is done, with the numbers.
func (s *Server) confirmPage(c *call) error {
	q := c.r.URL.Query()
	v, ok := verbOf(q.Get("verb"))
	if !ok {
		return notFound("", "there is no verb %q", q.Get("verb"))
	}
	if e := s.mayAct(c.who, v.Verb); e != nil {
		return e
	}
	m, err := memberOf(s.o.Catalog.View(), q.Get("member"))
	if err != nil {
		return err
	}
	view := confirmView{
		Title: v.Text + " " + m.Name + " · portico", Question: strings.Replace(v.Question, "%s", m.Name, 1), Effect: v.Effect,
		Button: v.Text, Verb: v.Verb, Name: m.Name, Danger: v.Danger, AsksReason: v.Reason, CSRF: s.csrf(c),
	}
	if v.Verb == VerbAccept || v.Verb == VerbRefuse {
		info := memberInfo(m)
		view.Member = &info
	} else {
		f := s.forecastMember(v.Verb, m.Name, s.snapshot(c.who).Pools)
		view.Forecast = &f
	}
	name := "confirm"
	if q.Get("fragment") == "1" {
		name = "question"
	}
	return s.show(c, http.StatusOK, name, view)
}

func (s *Server) csrf(c *call) string {
	if c.who == nil || c.who.login == nil {
		return ""
	}
	return c.who.login.csrf(s.logins.key)
}

// actPage does what the question asked.
func (s *Server) actPage(c *call) error {
	verb, name := c.r.PostForm.Get("verb"), c.r.PostForm.Get("member")
	v, ok := verbOf(verb)
	if !ok {
		c.quiet = true
		return notFound("", "there is no verb %q", verb)
	}
	c.action, c.object, c.detail = verb+" member", name, c.r.PostForm.Get("reason")
	if e := s.mayAct(c.who, v.Verb); e != nil {
		return e
	}
	if _, err := memberOf(s.o.Catalog.View(), name); err != nil {
		return err
	}
	if err := s.actMember(c, verb, name, MemberRequest{Reason: bounded(c.detail, 200)}); err != nil {
		return err
	}
	http.Redirect(c.w, c.r, "/stats?"+url.Values{"st": {verb}, "m": {name}}.Encode(), http.StatusSeeOther)
	return nil
}

// flash says what was just done, from the query that actPage redirects to. Both
// parts are checked, so that a link cannot put words on the page.
func (s *Server) flash(c *call) string {
	q := c.r.URL.Query()
	v, ok := verbOf(q.Get("st"))
	if !ok || s.o.Catalog.View().Members[q.Get("m")] == nil || c.now.IsZero() {
		return ""
	}
	return strings.Replace(v.Done, "%s", q.Get("m"), 1)
}

func age(d time.Duration) string { return formatAge(max(0, d)) }
