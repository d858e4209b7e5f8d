package site

import (
	"net/http"
	"strings"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/proxy/fault"
)

// Notice returns the page that tells a visitor of the lost session before the
// application is asked, or nil: the site does not want it, the request is no
// navigation, or he has seen it. seen is the value of the cookie that the page sets.
//
// The request is not forwarded, so nothing has moved yet: the one after the page does,
// and tells the application.
func (st *Site) Notice(c *balancer.Choice, sticky []byte, seen string, navigates, secure bool) *fault.Fault {
	if !st.WantsNotice || c.Lost == balancer.CauseNone || !navigates {
		return nil
	}
	token := "-" // of a session that only the application's own token named
	if len(sticky) >= tokenText {
		token = string(sticky[:tokenText])
	}
	if _, ok := seal.ParseToken([]byte(token)); !ok && token != "-" || seen == token {
		return nil
	}
	return fault.SessionEnded(c.Lost, st.Cookie.Noticed(token, secure))
}

const tokenText = 10 // characters of a token

// Navigates reports whether a browser wants a page to show, by what it says of
// the request (Fetch Metadata), or by what it takes where it says nothing.
func Navigates(method, mode, accept string) bool {
	return method == http.MethodGet && (mode == "navigate" || mode == "" && strings.Contains(accept, "text/html"))
}
