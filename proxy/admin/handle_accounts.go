package admin

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"portico/membership/catalog"
)

func (s *Server) listAccounts(c *call) error {
	out := []AccountInfo{}
	for _, a := range s.o.Catalog.View().Accounts {
		out = append(out, accountInfo(a))
	}
	slices.SortFunc(out, func(a, b AccountInfo) int { return cmp.Compare(a.Name, b.Name) })
	return c.json(http.StatusOK, out)
}

func accountInfo(a *catalog.Account) AccountInfo {
	return AccountInfo{Name: a.Name, Role: a.Role, Sites: a.Sites, Created: a.Created, Disabled: a.Disabled, Login: a.Password != ""}
}

// putAccount makes an account or changes the fields that are given.
func (s *Server) putAccount(c *call) error {
	var in AccountRequest
	if err := c.input(&in); err != nil {
		return err
	}
	c.object, c.detail = in.Name, string(in.Role)
	if in.Role != "" && rank(in.Role) == 0 {
		return badRequest("use viewer, deployer, operator or admin", "role %q", in.Role)
	}
	hash := ""
	if in.Password != "" {
		h, err := HashPassword(in.Password)
		if err != nil {
			return badRequest("", "%v", err)
		}
		hash = h
	}
	var saved catalog.Account
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		if _, err := tx.Account(in.Name); errors.Is(err, catalog.ErrNotFound) {
			fresh := catalog.Account{Name: in.Name, Role: cmp.Or(in.Role, catalog.RoleViewer)}
			if err := catalog.CreateAccount(tx, fresh, c.now); err != nil {
				return err
			}
		}
		changed, err := catalog.ChangeAccount(tx, in.Name, func(a *catalog.Account) error { return in.apply(a, hash) })
		saved = changed
		return err
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, accountInfo(&saved))
}

// apply changes what the request names.
func (in *AccountRequest) apply(a *catalog.Account, hash string) error {
	a.Role, a.Password = cmp.Or(in.Role, a.Role), cmp.Or(hash, a.Password)
	if in.Sites != nil {
		a.Sites = *in.Sites
	}
	if in.Disabled != nil {
		a.Disabled = *in.Disabled
	}
	if len(a.Sites) > 0 && rank(a.Role) > rank(catalog.RoleDeployer) {
		return badRequest("leave sites empty", "a scope of sites is for viewers and deployers, not for the role %s", a.Role)
	}
	return nil
}

func (s *Server) deleteAccount(c *call) error {
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		return catalog.RemoveAccount(tx, c.r.PathValue("account"))
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}

func (s *Server) listTokens(c *call) error {
	out := []TokenInfo{}
	for _, t := range s.o.Catalog.View().Tokens {
		if t.Account == c.who.account || c.who.role == catalog.RoleAdmin {
			out = append(out, tokenInfo(t))
		}
	}
	slices.SortFunc(out, func(a, b TokenInfo) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return c.json(http.StatusOK, out)
}

func tokenInfo(t *catalog.Token) TokenInfo {
	return TokenInfo{ID: t.ID, Account: t.Account, Label: t.Label, Created: t.Created, Expires: t.Expires}
}

// makeToken makes a token for the caller, or for anybody if the caller is an
// administrator.
func (s *Server) makeToken(c *call) error {
	var in TokenRequest
	if err := c.input(&in); err != nil {
		return err
	}
	in.Account = cmp.Or(in.Account, c.who.account)
	if in.Account != c.who.account && c.who.role != catalog.RoleAdmin {
		return forbidden("", "only administrators make tokens for others")
	}
	life, err := ttl(in.TTL, 0, 10*365*24*time.Hour)
	if err != nil {
		return err
	}
	answer, err := s.issueToken(c, in.Account, in.Label, life)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, answer)
}

// issueToken stores a new token of an account; a life of 0 never ends.
func (s *Server) issueToken(c *call, account, label string, life time.Duration) (TokenAnswer, error) {
	record, text := catalog.NewToken(account, label, life, c.now)
	c.object, c.detail = record.ID, fmt.Sprintf("account %s", account)
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		return catalog.CreateToken(tx, record, c.now)
	})
	if err != nil {
		return TokenAnswer{}, err
	}
	return TokenAnswer{Token: text, TokenInfo: tokenInfo(&record)}, nil
}

func (s *Server) deleteToken(c *call) error {
	id := c.r.PathValue("token")
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		t, err := tx.Token(id)
		if err != nil {
			return err
		}
		if t.Account != c.who.account && c.who.role != catalog.RoleAdmin {
			return notFound("", "token %q: not found", id) // whether it exists is not theirs to know
		}
		tx.DeleteToken(id)
		return nil
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}

// loginAPI turns a password into a token.
func (s *Server) loginAPI(c *call) error {
	var in LoginRequest
	c.quiet = true // wrong guesses go to the log: they must not fill the audit
	if err := c.input(&in); err != nil {
		return err
	}
	life, err := ttl(in.TTL, 30*24*time.Hour, 365*24*time.Hour)
	if err != nil {
		return err
	}
	account, refusal := s.byPassword(c, in.Account, in.Password)
	if refusal != nil {
		return refusal
	}
	c.who, c.quiet = identityOf(account), false
	answer, err := s.issueToken(c, account.Name, in.Label, life)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, answer)
}
