package admin

import (
	"net/http"
	"net/url"
	"strings"

	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
)

// confirmView is a question before something is done.
type confirmView struct {
	Title, CSRF string
	Refresh     bool
	V           verbView
	Question    string
	Action      string // where the form goes
	Target      url.Values
	Back        string
	Member      *api.MemberInfo
	Session     *api.SessionInfo
	Forecast    *api.Forecast
	Unpinned    *api.Forecast // with --no-pin
}

// confirmPage asks before anything is done, with the numbers.
func (s *Server) confirmPage(c *call) error {
	q := c.r.URL.Query()
	t := targetOf(q)
	v, err := s.button(c, q.Get("verb"), t)
	if err != nil {
		return err
	}
	view := confirmView{
		Title: v.Text + " " + t.String() + " · portico", Question: strings.Replace(v.Question, "%s", t.String(), 1), V: v,
		Action: "/stats/act", Target: t.fields(), Back: safeNext(q.Get("back")), CSRF: s.gate.CSRF(c.who),
	}
	if v.Upload {
		view.Action = "/stats/deploy"
	}
	switch {
	case v.Verb == api.VerbAccept || v.Verb == api.VerbRefuse:
		info := memberInfo(s.o.Catalog.View().Members[t.Member])
		view.Member = &info
	case v.on == onSession:
		info, err := s.all.Session(c.r.Context(), t.Site, t.Session)
		if err != nil {
			return err
		}
		view.Session = &info
	}
	if f, ok := s.foretell(c, &v, t, false); ok {
		view.Forecast = &f
	}
	if f, ok := s.foretell(c, &v, t, true); ok && v.Pins {
		view.Unpinned = &f
	}
	name := "confirm"
	if q.Get("fragment") == "1" {
		name = "question"
	}
	return s.show(c, http.StatusOK, name, view)
}

// button finds a verb for a target that is there, and checks that the caller may.
func (s *Server) button(c *call, verb string, t pageTarget) (verbView, error) {
	v, ok := verbOf(verb, t.kind())
	if !ok {
		return v, api.NotFound("", "there is no verb %q", api.Bounded(verb, 40))
	}
	if e := s.mayAct(c.who, &v, t.Site); e != nil {
		return v, e
	}
	return v, s.known(t, false)
}

// actPage does what the question asked.
func (s *Server) actPage(c *call) error {
	form := c.r.PostForm
	t := targetOf(form)
	if _, ok := verbOf(form.Get("verb"), t.kind()); !ok {
		c.quiet = true
		return api.NotFound("", "there is no verb %q", api.Bounded(form.Get("verb"), 40))
	}
	c.action, c.object, c.detail = strings.TrimSpace(form.Get("verb")+" "+t.kind()), t.String(), form.Get("reason")
	v, err := s.button(c, form.Get("verb"), t)
	if err != nil {
		return err
	}
	if err := s.act(c, &v, t); err != nil {
		return err
	}
	s.done(c, &v, t, form.Get("back"))
	return nil
}

// act does a verb in the same way as the API's route for it.
func (s *Server) act(c *call, v *verbView, t pageTarget) error {
	form, ctx, who := c.r.PostForm, c.r.Context(), c.who.Account
	ways := api.DrainRequest{Move: strings.TrimSpace(form.Get("move")), Deadline: strings.TrimSpace(form.Get("deadline"))}
	switch v.on + " " + v.Verb {
	case onSite + " " + verbCancel:
		d, err := s.deeds.Cancel(ctx, who, t.Site)
		c.detail = d.ID
		return err
	case onSite + " " + verbRemove:
		return s.deeds.Remove(ctx, who, t.Site)
	case onRelease + " " + verbRollback:
		noPin := form.Get("no_pin") != ""
		target, err := s.deeds.RollbackTarget(s.o.Catalog.View().Sites[t.Site], t.Release)
		if err == nil {
			c.detail = deeds.RollbackDetail(target, noPin)
			_, err = s.deeds.RollBack(ctx, who, t.Site, target, noPin)
		}
		return err
	case onRelease + " " + verbCut:
		c.detail = atOnce
		return s.deeds.EndRelease(ctx, who, t.Site, t.Release)
	case onRelease + " " + api.VerbDrain:
		return s.deeds.Drain(ctx, who, c.now, t.drainTarget(), ways)
	case onSession + " " + verbMove, onSession + " " + verbEnd:
		_, err := s.all.Change(ctx, t.Site, t.Session, v.Verb == verbEnd, c.now)
		return err
	}
	if v.on == onInstance {
		return s.deeds.Instance(ctx, who, c.now, v.Verb, t.Site, t.Instance, ways)
	}
	return s.deeds.Member(ctx, who, c.now, v.Verb, t.Member, api.MemberRequest{Reason: api.Bounded(form.Get("reason"), 200), DrainRequest: ways})
}

// done sends the browser back to where the button was, with a word on what was done.
func (s *Server) done(c *call, v *verbView, t pageTarget, back string) {
	to, _, _ := strings.Cut(safeNext(back), "?")
	if v.Verb == verbRemove {
		to = "/stats"
	}
	q := t.fields()
	q.Set("st", v.Verb)
	http.Redirect(c.w, c.r, to+"?"+q.Encode(), http.StatusSeeOther)
}

// flash says what was just done, from the query that done redirects to. All of it is
// checked, so that a link cannot put words on the page.
func (s *Server) flash(c *call) string {
	q := c.r.URL.Query()
	t := targetOf(q)
	v, ok := verbOf(q.Get("st"), t.kind())
	if !ok || t.kind() == onNothing || s.known(t, v.Verb == verbRemove || v.Verb == verbDeploy) != nil {
		return ""
	}
	return strings.Replace(v.Done, "%s", t.String(), 1)
}
