package admin

import (
	"cmp"
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
		a, err := tx.Account(in.Name)
		if err != nil {
			a = catalog.Account{Name: in.Name, Role: cmp.Or(in.Role, catalog.RoleViewer), Created: c.now.UTC()}
		}
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
		saved = a
		if err := tx.PutAccount(a); err != nil {
			return err
		}
		return keepOneAdmin(tx)
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, accountInfo(&saved))
}

// keepOneAdmin refuses the change that would lock everybody out.
func keepOneAdmin(tx *catalog.Tx) error {
	for _, a := range tx.Accounts() {
		if a.Role == catalog.RoleAdmin && !a.Disabled {
			return nil
		}
	}
	return failf(http.StatusConflict, "last_admin", "make another administrator first", "this would leave the cluster without an administrator")
}

func (s *Server) deleteAccount(c *call) error {
	name := c.r.PathValue("account")
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		if _, err := tx.Account(name); err != nil {
			return err
		}
		tx.DeleteAccount(name)
		for _, t := range tx.Tokens() {
			if t.Account == name {
				tx.DeleteToken(t.ID)
			}
		}
		return keepOneAdmin(tx)
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
	var expires time.Time
	if in.TTL != "" {
		life, err := ttl(in.TTL, 0, 10*365*24*time.Hour)
		if err != nil {
			return err
		}
		expires = c.now.Add(life)
	}
	answer, err := s.issueToken(c, in.Account, in.Label, expires)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, answer)
}

// issueToken stores a new token of an account that exists.
func (s *Server) issueToken(c *call, account, label string, expires time.Time) (TokenAnswer, error) {
	if len(label) > 100 {
		return TokenAnswer{}, badRequest("use at most 100 bytes", "the label is too long")
	}
	text, record := NewToken(account, label, c.now.UTC(), expires.UTC())
	if expires.IsZero() {
		record.Expires = time.Time{}
	}
	c.object, c.detail = record.ID, fmt.Sprintf("account %s", account)
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		if _, err := tx.Account(account); err != nil {
			return err
		}
		return tx.PutToken(record)
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
	answer, err := s.issueToken(c, account.Name, in.Label, c.now.Add(life))
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, answer)
}
