package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
)

// authenticate finds who makes the request: by token, else by login cookie,
// else nobody (nil, nil). A wrong token is an error even on a public route; a
// stale cookie is not.
func (s *Server) authenticate(c *call) (*identity, *api.Error) {
	_, password, hasBasic := c.r.BasicAuth()
	if token, basic := bearerFrom(c.r.Header.Get("Authorization"), password, hasBasic); token != "" {
		return s.byToken(c, token, basic)
	}
	cookie, err := c.r.Cookie(loginCookie)
	if err != nil {
		return nil, nil
	}
	l, err := s.logins.open(cookie.Value, c.now)
	if err != nil {
		return nil, nil
	}
	account := s.o.Catalog.View().Accounts[l.Account]
	if account == nil || account.Disabled || l.Proof != proofOf(account.Password) {
		return nil, nil
	}
	if c.now.Sub(l.Issued) > loginIdle/4 {
		renewed := *l
		renewed.Issued = c.now
		http.SetCookie(c.w, s.logins.cookie(&renewed))
	}
	who := identityOf(account)
	who.login = l
	return who, nil
}

func identityOf(a *catalog.Account) *identity {
	who := &identity{account: a.Name, role: a.Role}
	if a.Role == catalog.RoleDeployer || a.Role == catalog.RoleViewer {
		who.sites = a.Sites
	}
	return who
}

func (s *Server) byToken(c *call, text string, basic bool) (*identity, *api.Error) {
	account, token, err := command.VerifyToken(s.o.Catalog.View(), text, c.now)
	if err != nil {
		if refusal := s.learnToken(c); refusal != nil {
			return nil, refusal
		}
		if account, token, err = command.VerifyToken(s.o.Catalog.View(), text, c.now); err != nil {
			return nil, s.wrongToken(c)
		}
	}
	who := identityOf(account)
	who.safe, who.token = basic, token
	return who, nil
}

// confirmWait is how long a request waits for what other proxies have written.
const confirmWait = time.Second

// learnToken brings the view up to date before a token is called wrong: another proxy may
// have made it a moment ago, or while this one did not run. It returns a refusal where that
// cannot be known, or where too many wrong ones came from there.
func (s *Server) learnToken(c *call) *api.Error {
	if wait := s.stale.wait(throttleKey(c.r.RemoteAddr), c.now); wait > 0 {
		return tooMany(c, wait)
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), confirmWait)
	defer cancel()
	if err := s.o.Catalog.Confirm(ctx); err != nil {
		c.w.Header().Set("Retry-After", "1")
		return api.Failf(http.StatusServiceUnavailable, "unavailable", "try again in a moment, or at another proxy",
			"this proxy does not know the token, and cannot look whether another one does: %v", catalog.Text(err))
	}
	return nil
}

// wrongToken refuses a token, at most once in a pause with a word in the log. Nobody can
// guess 256 bits, so the pause keeps only the log and the answers small; a right token from
// the same address, perhaps of many people behind it, is never made to wait.
func (s *Server) wrongToken(c *call) *api.Error {
	key := throttleKey(c.r.RemoteAddr)
	count, pause := s.stale.fail(key, c.now)
	if count == 1 || pause > 0 {
		s.log.Warn("token refused", "from", c.from, "path", c.r.URL.Path, "times", count, "pause", pause)
	}
	return api.Failf(http.StatusUnauthorized, "unauthorized", "make a new one with portico token, or portico login", "the token is wrong, expired or its account disabled")
}

// byPassword checks an account's password, slowly for those who guess: by
// address, and by account across addresses.
func (s *Server) byPassword(c *call, name, password string) (*catalog.Account, *api.Error) {
	address, perAccount := throttleKey(c.r.RemoteAddr), "account "+name
	if len(name) > 64 {
		name, perAccount = "", "account"
	}
	for _, key := range []string{address, perAccount} {
		if wait := s.throttle.wait(key, c.now); wait > 0 {
			return nil, tooMany(c, wait)
		}
	}
	account := s.o.Catalog.View().Accounts[name]
	hash := ""
	if account != nil && !account.Disabled {
		hash = account.Password
	}
	ok, err := s.hasher.verify(c.r.Context(), hash, password)
	if ok {
		s.throttle.pass(address)
		s.throttle.pass(perAccount)
		return account, nil
	}
	if err != nil && !errors.Is(err, errPasswordHash) {
		return nil, errorOf(err)
	}
	now := time.Now() // the pause begins with the answer: the request may have taken longer than a pause
	_, pause := s.throttle.fail(address, now)
	if _, longer := s.throttle.fail(perAccount, now); longer > pause {
		pause = longer
	}
	s.log.Warn("password refused", "from", c.from, "account", name, "known", account != nil, "pause", pause)
	return nil, api.Failf(http.StatusUnauthorized, "unauthorized", "", "account or password is wrong")
}

// checkForm parses a form and checks its token. The login form itself has no
// login to bind a token to; Origin and SameSite guard it.
func (s *Server) checkForm(c *call) *api.Error {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return api.BadRequest("", "the form cannot be read")
	}
	c.r.PostForm, c.r.Form = form, form
	if c.rt.need == nobody {
		return nil
	}
	if c.who.login == nil {
		return api.Forbidden("use /v1 with a token", "forms are for the page's login")
	}
	if !s.csrfOK(c.who.login, form.Get("csrf")) {
		return api.Failf(http.StatusForbidden, "csrf", "load the page again", "the form's token is missing or old")
	}
	return nil
}

// safeNext keeps a redirect after login on this page.
func safeNext(next string) string {
	if strings.HasPrefix(next, "/stats") && !strings.ContainsAny(next, "\\\r\n") {
		return next
	}
	return "/stats"
}
