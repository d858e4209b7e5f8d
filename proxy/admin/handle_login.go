package admin

import (
	"net/http"
	"strings"

	"portico/proxy/admin/access"
)

func (s *Server) root(c *call) error {
	http.Redirect(c.w, c.r, "/stats", http.StatusSeeOther)
	return nil
}

// loginForm takes the page's login form.
func (s *Server) loginForm(c *call) error {
	c.quiet = true // wrong guesses go to the log: they must not fill the audit
	next := safeNext(c.r.PostForm.Get("next"))
	account, err := s.gate.ByPassword(c.w, c.r, c.now, c.r.PostForm.Get("account"), c.r.PostForm.Get("password"))
	if err != nil {
		e := errorOf(err)
		return s.page.Login(c.w, e.Status, e.Error(), next)
	}
	c.who, c.quiet = access.IdentityOf(account), false
	c.object = account.Name
	s.gate.Begin(c.w, account, c.now)
	http.Redirect(c.w, c.r, next, http.StatusSeeOther)
	return nil
}

func (s *Server) logoutForm(c *call) error {
	s.gate.End(c.w, c.who, c.now)
	http.Redirect(c.w, c.r, "/login", http.StatusSeeOther)
	return nil
}

// SetLoginKey replaces the key of 32 bytes that seals page logins: people have to log
// in again where it is another one.
func (s *Server) SetLoginKey(key []byte) error { return s.gate.SetLoginKey(key) }

// safeNext keeps a redirect after login on this page.
func safeNext(next string) string {
	if strings.HasPrefix(next, "/stats") && !strings.ContainsAny(next, "\\\r\n") {
		return next
	}
	return "/stats"
}

func (s *Server) loginPage(c *call) error {
	if c.who != nil && c.who.LoggedIn() {
		http.Redirect(c.w, c.r, "/stats", http.StatusSeeOther)
		return nil
	}
	return s.page.Login(c.w, http.StatusOK, "", safeNext(c.r.URL.Query().Get("next")))
}
