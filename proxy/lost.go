package proxy

import (
	"net/http"
	"strings"

	"portico/balancer"
	"portico/proxy/sticky"
)

// What people and operators learn of a lost session. Applications read
// SessionLostHeader.

// noteLost logs a session that moves to another instance because it was lost. The
// counters by cause are the balancer's.
func (s *Server) noteLost(st *site, c *balancer.Choice) {
	if c.Lost == balancer.CauseNone || c.Upstream == nil {
		return
	}
	s.log.Info("session lost", "site", st.name, "cause", c.Lost.String(), "from", c.LostFrom, "to", c.Upstream.Spec().Name,
		"session", sticky.SessionName(c.Session))
	if s.o.Moved != nil {
		s.o.Moved(c.Session, c.Upstream.ID())
	}
}

// notice returns the page that tells a visitor of the lost session before the
// application is asked, or nil: the site does not want it, the request is no
// navigation, or he has seen it. seen is the value of the cookie that the page sets.
//
// The request is not forwarded, so nothing has moved yet: the one after the page does,
// and tells the application.
func (st *site) notice(c *balancer.Choice, sticky []byte, seen string, navigates, secure bool) *fault {
	if !st.wantsNotice || c.Lost == balancer.CauseNone || !navigates {
		return nil
	}
	token := "-" // of a session that only the application's own token named
	if len(sticky) >= tokenText {
		token = string(sticky[:tokenText])
	}
	if _, ok := balancer.ParseToken([]byte(token)); !ok && token != "-" || seen == token {
		return nil
	}
	return &fault{status: http.StatusOK, cause: 'L', phase: 'R', page: noticePage(c.Lost), cookie: st.cookie.Noticed(token, secure)}
}

const tokenText = 10 // characters of a token

// navigation reports whether a browser wants a page to show, by what it says of
// the request (Fetch Metadata), or by what it takes where it says nothing.
func navigation(method, mode, accept string) bool {
	return method == http.MethodGet && (mode == "navigate" || mode == "" && strings.Contains(accept, "text/html"))
}

// noticePage tells of a loss. It holds nothing that came with the request.
func noticePage(why balancer.Cause) string {
	return noticeHead + noticeReason(why) + noticeTail
}

// noticeReason says for visitors why a session was lost.
func noticeReason(why balancer.Cause) string {
	switch why {
	case balancer.CauseDeadline:
		return "It was on a server, or a version of this site, that is taken out of service, and the time to finish there is over."
	case balancer.CauseOperator:
		return "The server that held it was taken out of service."
	}
	return "The server that held it is not available any more."
}

// The empty address is that of the page itself.
const noticeHead = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Your session has ended</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}a{color:inherit}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>Your session has ended</h1><p>`

const noticeTail = ` What you had not saved there may be lost, and you may have to log in again.</p>
<p><a href="">Continue</a></p></body></html>
`
