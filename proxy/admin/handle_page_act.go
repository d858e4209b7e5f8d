package admin

import (
	"net/http"
	"strconv"
	"strings"

	"portico/conf/sites"
	"portico/internal/refusal"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/page"
)

// confirmPage asks before anything is done, with the numbers.
func (s *Server) confirmPage(c *call) error {
	q := c.r.URL.Query()
	t := page.TargetOf(q)
	v, err := s.button(c, q.Get("verb"), t)
	if err != nil {
		return err
	}
	ask := &page.Question{V: v, About: t, Back: safeNext(q.Get("back")), CSRF: s.gate.CSRF(c.who)}
	switch {
	case v.Verb == api.VerbAccept || v.Verb == api.VerbRefuse:
		info := memberInfo(s.o.Catalog.View().Members[t.Member])
		ask.Member = &info
	case v.On == page.OnSession:
		info, err := s.all.Session(c.r.Context(), t.Site, t.Session)
		if err != nil {
			return err
		}
		ask.Session = &info
	}
	s.foretell(c, ask)
	return s.page.Ask(c.w, ask, c.fragment())
}

// button finds a verb for a target that is there, and checks that the caller may.
func (s *Server) button(c *call, verb string, t page.Target) (page.Verb, error) {
	v, ok := page.VerbOf(verb, t.Kind())
	if !ok {
		return v, refusal.NotFound("", "there is no verb %q", api.Bounded(verb, 40))
	}
	if e := v.May(c.who, t.Site); e != nil {
		return v, e
	}
	return v, s.known(t, false)
}

// actPage does what the question asked.
func (s *Server) actPage(c *call) error {
	form := c.r.PostForm
	t := page.TargetOf(form)
	if _, ok := page.VerbOf(form.Get("verb"), t.Kind()); !ok {
		c.quiet = true
		return refusal.NotFound("", "there is no verb %q", api.Bounded(form.Get("verb"), 40))
	}
	c.action, c.object, c.detail = strings.TrimSpace(form.Get("verb")+" "+t.Kind()), t.String(), form.Get("reason")
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
func (s *Server) act(c *call, v *page.Verb, t page.Target) error {
	form, ctx, who := c.r.PostForm, c.r.Context(), c.who.Account
	ways := api.DrainRequest{Move: strings.TrimSpace(form.Get("move")), Deadline: strings.TrimSpace(form.Get("deadline"))}
	switch v.On + " " + v.Verb {
	case page.OnSite + " " + page.VerbCancel:
		d, err := s.deeds.Cancel(ctx, who, t.Site)
		c.detail = d.ID
		return err
	case page.OnSite + " " + page.VerbRemove:
		return s.deeds.Remove(ctx, who, t.Site)
	case page.OnRelease + " " + page.VerbRollback:
		noPin := form.Get("no_pin") != ""
		target, err := s.deeds.RollbackTarget(s.o.Catalog.View().Sites[t.Site], t.Release)
		if err == nil {
			c.detail = deeds.RollbackDetail(target, noPin)
			_, err = s.deeds.RollBack(ctx, who, t.Site, target, noPin)
		}
		return err
	case page.OnRelease + " " + page.VerbCut:
		c.detail = atOnce
		return s.deeds.EndRelease(ctx, who, t.Site, t.Release)
	case page.OnRelease + " " + api.VerbDrain:
		return s.deeds.Drain(ctx, who, c.now, t.DrainTarget(), ways)
	case page.OnSession + " " + page.VerbMove, page.OnSession + " " + page.VerbEnd:
		_, err := s.all.Change(ctx, t.Site, t.Session, v.Verb == page.VerbEnd, c.now)
		return err
	}
	if v.On == page.OnInstance {
		return s.deeds.Instance(ctx, who, c.now, v.Verb, t.Site, t.Instance, ways)
	}
	return s.deeds.Member(ctx, who, c.now, v.Verb, t.Member, api.MemberRequest{Reason: api.Bounded(form.Get("reason"), 200), DrainRequest: ways})
}

// done sends the browser back to where the button was, with a word on what was done.
func (s *Server) done(c *call, v *page.Verb, t page.Target, back string) {
	to, _, _ := strings.Cut(safeNext(back), "?")
	if v.Verb == page.VerbRemove {
		to = "/stats"
	}
	q := t.Fields()
	q.Set("st", v.Verb)
	http.Redirect(c.w, c.r, to+"?"+q.Encode(), http.StatusSeeOther)
}

// flash says what was just done, from the query that done redirects to. All of it is
// checked, so that a link cannot put words on the page.
func (s *Server) flash(c *call) string {
	q := c.r.URL.Query()
	t := page.TargetOf(q)
	v, ok := page.VerbOf(q.Get("st"), t.Kind())
	if !ok || t.Kind() == page.OnNothing || s.known(t, v.Verb == page.VerbRemove || v.Verb == page.VerbDeploy) != nil {
		return ""
	}
	return strings.Replace(v.Done, "%s", t.String(), 1)
}

// known checks that a target is there, and refuses words that somebody has put into
// a link. gone says that it may have been there until just now.
func (s *Server) known(t page.Target, gone bool) error {
	view := s.o.Catalog.View()
	if t.Member != "" {
		return isMember(view, t.Member)
	}
	if t.Kind() == page.OnNothing {
		return nil
	}
	if view.Sites[t.Site] == nil && (!gone || sites.ValidName("site", t.Site) != nil) {
		return s.all.NoSite(t.Site)
	}
	if t.Release != "" && view.Releases[t.Site][t.Release] == nil {
		return refusal.NotFound("portico releases "+t.Site+" lists them", "site %q has no release %q", t.Site, api.Bounded(t.Release, 70))
	}
	if in := view.Instances[t.Instance]; t.Instance != "" && (in == nil || in.Site != t.Site) {
		return refusal.NotFound("portico sessions "+t.Site+" lists them", "site %q has no instance %q", t.Site, api.Bounded(t.Instance, 60))
	}
	if t.Session != "" {
		if _, err := strconv.ParseUint(t.Session, 16, 64); err != nil || len(t.Session) != 16 {
			return refusal.BadRequest("", "%q is no session id", api.Bounded(t.Session, 40))
		}
	}
	return nil
}
