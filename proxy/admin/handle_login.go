package admin

import (
	"net/http"
)

func (s *Server) root(c *call) error {
	http.Redirect(c.w, c.r, "/stats", http.StatusSeeOther)
	return nil
}

// loginForm takes the page's login form.
func (s *Server) loginForm(c *call) error {
	c.quiet = true // wrong guesses go to the log: they must not fill the audit
	next := safeNext(c.r.PostForm.Get("next"))
	account, refusal := s.byPassword(c, c.r.PostForm.Get("account"), c.r.PostForm.Get("password"))
	if refusal != nil {
		return s.showLogin(c, refusal, next)
	}
	c.who, c.quiet = identityOf(account), false
	c.object = account.Name
	http.SetCookie(c.w, s.logins.cookie(s.logins.begin(account.Name, account.Password, c.now)))
	http.Redirect(c.w, c.r, next, http.StatusSeeOther)
	return nil
}

func (s *Server) logoutForm(c *call) error {
	s.logins.end(c.who.login, c.now)
	http.SetCookie(c.w, &http.Cookie{
		Name: loginCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(c.w, c.r, "/login", http.StatusSeeOther)
	return nil
}
