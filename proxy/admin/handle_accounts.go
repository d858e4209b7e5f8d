package admin

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
)

func (s *Server) listAccounts(c *call) error {
	out := []api.AccountInfo{}
	for _, a := range s.o.Catalog.View().Accounts {
		out = append(out, accountInfo(a))
	}
	slices.SortFunc(out, func(a, b api.AccountInfo) int { return cmp.Compare(a.Name, b.Name) })
	return c.json(http.StatusOK, out)
}

func accountInfo(a *catalog.Account) api.AccountInfo {
	return api.AccountInfo{Name: a.Name, Role: a.Role, Sites: a.Sites, Created: a.Created, Disabled: a.Disabled, Login: a.Password != ""}
}

// putAccount makes an account or changes the fields that are given.
func (s *Server) putAccount(c *call) error {
	var in api.AccountRequest
	if err := c.input(&in); err != nil {
		return err
	}
	c.object, c.detail = in.Name, string(in.Role)
	if in.Role != "" && access.Rank(in.Role) == 0 {
		return refusal.BadRequest("use viewer, deployer, operator or admin", "role %q", in.Role)
	}
	if err := s.confirmed(c, in.Confirm); err != nil {
		return err
	}
	hash := ""
	if in.Password != "" {
		h, err := access.HashPassword(in.Password)
		if err != nil {
			return refusal.BadRequest("", "%v", err)
		}
		hash = h
	}
	var saved catalog.Account
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		if _, err := tx.Account(in.Name); errors.Is(err, catalog.ErrNotFound) {
			fresh := catalog.Account{Name: in.Name, Role: cmp.Or(in.Role, catalog.RoleViewer)}
			if err := command.CreateAccount(tx, fresh, c.now); err != nil {
				return err
			}
		}
		changed, err := command.ChangeAccount(tx, in.Name, func(a *catalog.Account) error { return change(a, &in, hash) })
		saved = changed
		return err
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, accountInfo(&saved))
}

// confirmed asks for the caller's own password where the credential ends by itself, and
// what is made with it does not: a token of an hour that somebody found must not become an
// account.
func (s *Server) confirmed(c *call, password string) error {
	if c.who.Ends().IsZero() {
		return nil
	}
	account := s.o.Catalog.View().Accounts[c.who.Account]
	if account == nil || account.Password == "" {
		return refusal.Forbidden("use a token that does not end, such as that of the proxy's own machine", "the token that asks ends at %s, and an account does not", c.who.Ends().UTC().Format(time.RFC3339))
	}
	if password == "" {
		return refusal.New(http.StatusForbidden, "confirm", `send your own password as "confirm"`, "the credential of %q ends by itself, and an account does not: this needs the password", c.who.Account)
	}
	_, err := s.gate.ByPassword(c.w, c.r, c.now, c.who.Account, password)
	return err
}

// change changes what a request names of an account.
func change(a *catalog.Account, in *api.AccountRequest, hash string) error {
	a.Role, a.Password = cmp.Or(in.Role, a.Role), cmp.Or(hash, a.Password)
	if in.Sites != nil {
		a.Sites = *in.Sites
	}
	if in.Disabled != nil {
		a.Disabled = *in.Disabled
	}
	if len(a.Sites) > 0 && access.Rank(a.Role) > access.Rank(catalog.RoleDeployer) {
		return refusal.BadRequest("leave sites empty", "a scope of sites is for viewers and deployers, not for the role %s", a.Role)
	}
	return nil
}

func (s *Server) deleteAccount(c *call) error {
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		return command.RemoveAccount(tx, c.r.PathValue("account"))
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}

func (s *Server) listTokens(c *call) error {
	out := []api.TokenInfo{}
	for _, t := range s.o.Catalog.View().Tokens {
		if t.Account == c.who.Account || c.who.Role == catalog.RoleAdmin {
			out = append(out, tokenInfo(t))
		}
	}
	slices.SortFunc(out, func(a, b api.TokenInfo) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return c.json(http.StatusOK, out)
}

func tokenInfo(t *catalog.Token) api.TokenInfo {
	return api.TokenInfo{ID: t.ID, Account: t.Account, Label: t.Label, Created: t.Created, Expires: t.Expires, Parent: t.Parent}
}

// makeToken makes a token for the caller, or for anybody if the caller is an
// administrator.
func (s *Server) makeToken(c *call) error {
	var in api.TokenRequest
	if err := c.input(&in); err != nil {
		return err
	}
	in.Account = cmp.Or(in.Account, c.who.Account)
	if in.Account != c.who.Account && c.who.Role != catalog.RoleAdmin {
		return refusal.Forbidden("", "only administrators make tokens for others")
	}
	life, err := api.Duration(in.TTL, 0, 10*365*24*time.Hour)
	if err != nil {
		return err
	}
	if life, err = c.within(life); err != nil {
		return err
	}
	answer, err := s.issueToken(c, in.Account, in.Label, life)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, answer)
}

// within bounds the life of what is made with a credential by the credential's own: a life
// of 0 becomes that, a longer one is refused.
func (c *call) within(life time.Duration) (time.Duration, error) {
	ends := c.who.Ends()
	if ends.IsZero() {
		return life, nil
	}
	left := ends.Sub(c.now)
	if life > left {
		return 0, refusal.Forbidden("ask for less, or with a token that does not end, such as that of the proxy's own machine", "what asks ends at %s, and nothing that it makes may last longer", ends.UTC().Format(time.RFC3339))
	}
	if life == 0 {
		return left, nil
	}
	return life, nil
}

// issueToken stores a new token of an account; a life of 0 never ends. It ends with the
// token that asked for it.
func (s *Server) issueToken(c *call, account, label string, life time.Duration) (api.TokenAnswer, error) {
	record, text := command.NewToken(account, label, life, c.now)
	if c.who.Token != nil {
		record.Parent = c.who.Token.ID
		if ends := c.who.Token.Expires; record.Expires.After(ends) && !ends.IsZero() {
			record.Expires = ends // they were a moment apart
		}
	}
	c.object, c.detail = record.ID, fmt.Sprintf("account %s", account)
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		return command.CreateToken(tx, record, c.now)
	})
	if err != nil {
		return api.TokenAnswer{}, err
	}
	return api.TokenAnswer{Token: text, TokenInfo: tokenInfo(&record)}, nil
}

func (s *Server) deleteToken(c *call) error {
	id := c.r.PathValue("token")
	out := api.EndedTokens{}
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		t, err := tx.Token(id)
		if err != nil {
			return err
		}
		if t.Account != c.who.Account && c.who.Role != catalog.RoleAdmin {
			return refusal.NotFound("", "token %q: not found", id) // whether it exists is not theirs to know
		}
		out.Ended = command.EndToken(tx, id)
		return nil
	})
	if err != nil {
		return err
	}
	if more := len(out.Ended) - 1; more > 0 {
		c.detail = fmt.Sprintf("and %d that it made", more)
	}
	return c.json(http.StatusOK, out)
}

// loginAPI turns a password into a token.
func (s *Server) loginAPI(c *call) error {
	var in api.LoginRequest
	c.quiet = true // wrong guesses go to the log: they must not fill the audit
	if err := c.input(&in); err != nil {
		return err
	}
	life, err := api.Duration(in.TTL, 30*24*time.Hour, 365*24*time.Hour)
	if err != nil {
		return err
	}
	account, err := s.gate.ByPassword(c.w, c.r, c.now, in.Account, in.Password)
	if err != nil {
		return err
	}
	c.who, c.quiet = access.IdentityOf(account), false
	answer, err := s.issueToken(c, account.Name, in.Label, life)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, answer)
}
