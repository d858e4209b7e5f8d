package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// Gate finds out who makes a request.
type Gate struct {
	catalog  *catalog.Catalog
	log      *slog.Logger
	throttle *throttle // wrong passwords
	stale    *throttle // wrong tokens
	hasher   *hasher
	logins   *logins
}

// NewGate returns the gate to what a catalog's accounts may use. loginKey are 32 bytes that seal page logins; nil: they
// are made now.
func NewGate(c *catalog.Catalog, log *slog.Logger, loginKey []byte) (*Gate, error) {
	keys, err := newLogins(loginKey)
	if err != nil {
		return nil, fmt.Errorf("login key: %w", err)
	}
	return &Gate{catalog: c, log: log, throttle: newThrottle(), stale: newThrottle(), hasher: newHasher(), logins: keys}, nil
}

// Authenticate finds who makes the request: by token, else by login cookie,
// else nobody (nil, nil). A wrong token is an error even on a public route; a
// stale cookie is not.
func (g *Gate) Authenticate(w http.ResponseWriter, r *http.Request, now time.Time) (*Identity, *refusal.Error) {
	_, password, hasBasic := r.BasicAuth()
	if token, basic := bearerFrom(r.Header.Get("Authorization"), password, hasBasic); token != "" {
		return g.byToken(w, r, now, token, basic)
	}
	cookie, err := r.Cookie(loginCookie)
	if err != nil {
		return nil, nil
	}
	l, err := g.logins.open(cookie.Value, now)
	if err != nil {
		return nil, nil
	}
	account := g.catalog.View().Accounts[l.Account]
	if account == nil || account.Disabled || l.Proof != proofOf(account.Password) {
		return nil, nil
	}
	if now.Sub(l.Issued) > loginIdle/4 {
		renewed := *l
		renewed.Issued = now
		http.SetCookie(w, g.logins.cookie(&renewed))
	}
	who := IdentityOf(account)
	who.login = l
	return who, nil
}

// IdentityOf is an account without a credential of its own.
func IdentityOf(a *catalog.Account) *Identity {
	who := &Identity{Account: a.Name, Role: a.Role}
	if a.Role == catalog.RoleDeployer || a.Role == catalog.RoleViewer {
		who.Sites = a.Sites
	}
	return who
}

func (g *Gate) byToken(w http.ResponseWriter, r *http.Request, now time.Time, text string, basic bool) (*Identity, *refusal.Error) {
	account, token, err := command.VerifyToken(g.catalog.View(), text, now)
	if err != nil {
		if refused := g.learnToken(w, r, now); refused != nil {
			return nil, refused
		}
		if account, token, err = command.VerifyToken(g.catalog.View(), text, now); err != nil {
			return nil, g.wrongToken(r, now)
		}
	}
	who := IdentityOf(account)
	who.safe, who.Token = basic, token
	return who, nil
}

// confirmWait is how long a request waits for what other proxies have written.
const confirmWait = time.Second

// learnToken brings the view up to date before a token is called wrong: another proxy may
// have made it a moment ago, or while this one did not run. It returns a refusal where that
// cannot be known, or where too many wrong ones came from there.
func (g *Gate) learnToken(w http.ResponseWriter, r *http.Request, now time.Time) *refusal.Error {
	if wait := g.stale.wait(throttleKey(r.RemoteAddr), now); wait > 0 {
		return tooMany(w, wait)
	}
	ctx, cancel := context.WithTimeout(r.Context(), confirmWait)
	defer cancel()
	if err := g.catalog.Confirm(ctx); err != nil {
		w.Header().Set("Retry-After", "1")
		return refusal.New(http.StatusServiceUnavailable, "unavailable", "try again in a moment, or at another proxy",
			"this proxy does not know the token, and cannot look whether another one does: %v", catalog.Text(err))
	}
	return nil
}

// wrongToken refuses a token, at most once in a pause with a word in the log. Nobody can
// guess 256 bits, so the pause keeps only the log and the answers small; a right token from
// the same address, perhaps of many people behind it, is never made to wait.
func (g *Gate) wrongToken(r *http.Request, now time.Time) *refusal.Error {
	key := throttleKey(r.RemoteAddr)
	count, pause := g.stale.fail(key, now)
	if count == 1 || pause > 0 {
		g.log.Warn("token refused", "from", ClientAddr(r), "path", r.URL.Path, "times", count, "pause", pause)
	}
	return refusal.New(http.StatusUnauthorized, "unauthorized", "make a new one with portico token, or portico login", "the token is wrong, expired or its account disabled")
}

// ByPassword checks an account's password, slowly for those who guess: by
// address, and by account across addresses.
func (g *Gate) ByPassword(w http.ResponseWriter, r *http.Request, now time.Time, name, password string) (*catalog.Account, error) {
	address, perAccount := throttleKey(r.RemoteAddr), "account "+name
	if len(name) > 64 {
		name, perAccount = "", "account"
	}
	for _, key := range []string{address, perAccount} {
		if wait := g.throttle.wait(key, now); wait > 0 {
			return nil, tooMany(w, wait)
		}
	}
	account := g.catalog.View().Accounts[name]
	hash := ""
	if account != nil && !account.Disabled {
		hash = account.Password
	}
	ok, err := g.hasher.verify(r.Context(), hash, password)
	if ok {
		g.throttle.pass(address)
		g.throttle.pass(perAccount)
		return account, nil
	}
	if err != nil && !errors.Is(err, errPasswordHash) {
		return nil, err
	}
	now = time.Now() // the pause begins with the answer: the request may have taken longer than a pause
	_, pause := g.throttle.fail(address, now)
	if _, longer := g.throttle.fail(perAccount, now); longer > pause {
		pause = longer
	}
	g.log.Warn("password refused", "from", ClientAddr(r), "account", name, "known", account != nil, "pause", pause)
	return nil, refusal.New(http.StatusUnauthorized, "unauthorized", "", "account or password is wrong")
}

// CSRF is what the page's forms must send back, "" without a login.
func (g *Gate) CSRF(who *Identity) string {
	if who == nil || who.login == nil {
		return ""
	}
	return who.login.csrf(g.logins.csrfKey())
}

// CSRFGood reports whether a token is that of the identity's login.
func (g *Gate) CSRFGood(who *Identity, token string) bool {
	want := g.CSRF(who)
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(token)) == 1
}

// Begin lets an account's browser in.
func (g *Gate) Begin(w http.ResponseWriter, a *catalog.Account, now time.Time) {
	http.SetCookie(w, g.logins.cookie(g.logins.begin(a.Name, a.Password, now)))
}

// End ends the login of an identity, also where copies of its cookie exist.
func (g *Gate) End(w http.ResponseWriter, who *Identity, now time.Time) {
	g.logins.end(who.login, now)
	http.SetCookie(w, &http.Cookie{
		Name: loginCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// SetLoginKey replaces the key of 32 bytes that seals page logins: people have to log
// in again where it is another one.
func (g *Gate) SetLoginKey(key []byte) error { return g.logins.setKey(key) }

// Opens reports whether a credential opens all that it did when who was made of it.
func (g *Gate) Opens(who *Identity, now time.Time) bool {
	v := g.catalog.View()
	a := v.Accounts[who.Account]
	switch {
	case who.Token != nil:
		a = command.StillGood(v, who.Token.ID, now)
	case a == nil || a.Disabled || who.login.Proof != proofOf(a.Password) || !now.Before(who.Ends()) || g.logins.isEnded(who.login.ID):
		return false
	}
	if a == nil {
		return false
	}
	is := IdentityOf(a)
	if len(is.Sites) > 0 && len(who.Sites) == 0 || Rank(is.Role) < Rank(who.Role) {
		return false
	}
	return !slices.ContainsFunc(who.Sites, func(site string) bool { return !is.Sees(site) })
}

// tooMany answers a request that must wait.
func tooMany(w http.ResponseWriter, wait time.Duration) *refusal.Error {
	seconds := int(wait/time.Second) + 1
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	return refusal.New(http.StatusTooManyRequests, "slow_down", fmt.Sprintf("wait %d seconds", seconds), "too many wrong credentials")
}

// ClientAddr is the address of who makes a request, without port.
func ClientAddr(r *http.Request) string {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return ap.Addr().Unmap().String()
	}
	return r.RemoteAddr
}
