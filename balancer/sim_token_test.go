package balancer_test

import (
	"strconv"
	"strings"

	"portico/balancer"
)

// simApp is how an application names its sessions, and how visitors bear the name.
type simApp struct {
	name   string
	route  bool // behind the token stands a route, which follows the instance
	lax    bool // a token that an instance does not know becomes one of its own
	tells  bool // also then it tells the token, with its own route
	silent bool // no header tells of a new session: the links of the page do
	links  bool // the token is in addresses: one that was typed or kept lacks it
}

var simApps = []simApp{ // read only
	{name: "cookie"},
	{name: "cookie with a route", route: true, lax: true, tells: true},
	{name: "cookie that is believed", lax: true},
	{name: "header"},
	{name: "query", links: true},
	{name: "path parameter", silent: true, links: true, route: true},
}

// simToken is what a proxy should know of one of the application's tokens.
type simToken struct {
	at      *simInstance
	session uint64 // with which it was seen
	now     int64  // when it was seen last, Unix seconds of that proxy
	who     *simVisitor
	n       int  // who.moves then
	sure    bool // it is there; else it may have stayed where it was seen before
}

// hash hashes a token as a proxy reads it.
func (s *sim) hash(px *simProxy, token string) uint64 {
	if token == "" {
		return 0
	}
	if s.app.route {
		token, _, _ = strings.Cut(token, ".")
	}
	return px.b.HashApp([]byte(token))
}

// bears is the token that a request of the visitor brings.
func (s *sim) bears(v *simVisitor) string {
	if s.app == nil || s.app.links && s.rng.IntN(5) == 0 {
		return ""
	}
	return v.token
}

// bare is a token without its route: what the application knows it by.
func bare(token string) string {
	token, _, _ = strings.Cut(token, ".")
	return token
}

// answer lets the application answer, and the proxy learn from that as the engines do. It
// returns the token that the visitor has then.
func (s *sim) answer(px *simProxy, v *simVisitor, c *balancer.Choice, in *simInstance, bore string) (token string) {
	told := ""
	switch {
	case bore != "" && in.opened[bare(bore)]:
		token = bore
	case bore != "" && s.app.lax:
		token = bare(bore)
		in.opened[token] = true
		if s.app.route {
			token += "." + in.spec.Name
		}
		if s.app.tells {
			told = token
		}
	case bore != "" || s.rng.IntN(2) == 0: // a session is opened
		s.next++
		token = "T" + strconv.Itoa(s.next)
		in.opened[token] = true
		if s.app.route {
			token += "." + in.spec.Name
		}
		if !s.app.silent {
			told = token
		}
	}
	switch {
	case told != "":
		px.p.Learn(c, s.hash(px, told), s.at(px))
		s.learned(px, v, c, bare(told), in, true)
	case bore != "":
		px.p.Refresh(c, s.hash(px, bore), s.at(px))
		old := px.tokens[bare(bore)]
		s.learned(px, v, c, bare(bore), in, old == nil || old.sure && old.at == in)
	case !s.app.silent:
		cookie := c.Issue
		px.p.Decline(c)
		if sh := px.shadow[c.Session]; cookie && !c.Issue && sh != nil && !sh.kept {
			delete(px.shadow, c.Session)
		}
	}
	return token
}

func (s *sim) learned(px *simProxy, v *simVisitor, c *balancer.Choice, token string, in *simInstance, sure bool) {
	px.tokens[token] = &simToken{at: in, session: c.Session, now: s.at(px) / 1000, who: v, n: v.moves, sure: sure}
	if px.shadow[c.Session] == nil { // another answer of the burst has withdrawn it
		s.note(px, c, in, "")
	}
	px.shadow[c.Session].kept = true
}

// byToken returns where a proxy should know a token to be: where its session is.
func (s *sim) byToken(px *simProxy, token string) *simInstance {
	t := px.tokens[bare(token)]
	if t == nil || !t.sure || s.at(px)/1000-t.now > int64(s.config.Idle.Seconds()) {
		return nil // it may have been forgotten
	}
	at := t.at
	if sh := px.shadow[t.session]; sh != nil {
		at = sh.home
	}
	if px.seen[at].removed || px.seen[t.at].removed {
		return nil
	}
	return at
}
