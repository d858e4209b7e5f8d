package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
)

// made makes a token and fails the test if that is refused.
func (e *env) made(by string, r api.TokenRequest) api.TokenAnswer {
	e.t.Helper()
	answer, err := e.api(by).NewToken(context.Background(), r)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer
}

// opens reports whether a token is taken.
func (e *env) opens(token string) bool {
	_, err := e.api(token).Whoami(context.Background())
	return err == nil
}

// A token of an hour made itself an endless one. What a token makes ends with it at the
// latest, goes when it goes, and has no more rights than its maker has at the time.
func TestNoTokenOutlivesItsMaker(t *testing.T) {
	e := start(t, nil)
	ctx := context.Background()
	hour := e.made(e.tokens["admin"], api.TokenRequest{TTL: "1h"})
	if left := time.Until(hour.Expires); left > time.Hour {
		t.Fatal(left)
	}
	for _, ask := range []api.TokenRequest{{TTL: "2h"}, {TTL: "90d", Account: "viewer"}, {TTL: "61m"}} {
		_, err := e.api(hour.Token).NewToken(ctx, ask)
		if api.ExitCode(err) != 3 || !strings.Contains(err.Error(), "may last longer") {
			t.Errorf("a token of an hour made one of %s: %v", ask.TTL, err)
		}
	}
	child := e.made(hour.Token, api.TokenRequest{})
	other := e.made(hour.Token, api.TokenRequest{Account: "operator", TTL: "30m"})
	grandchild := e.made(child.Token, api.TokenRequest{})
	for _, token := range []api.TokenAnswer{child, other, grandchild} {
		if token.Expires.IsZero() || token.Expires.After(hour.Expires) {
			t.Errorf("what ends at %s made a token that ends at %s", hour.Expires, token.Expires)
		}
		if !e.opens(token.Token) {
			t.Error("a token that was made in order does not open")
		}
	}

	// What the maker may not do any more, its tokens for others may not either.
	role := func(role catalog.AccountRole) {
		e.update(func(tx *catalog.Tx) error {
			_, err := command.ChangeAccount(tx, "second", func(a *catalog.Account) error { a.Role = role; return nil })
			return err
		})
	}
	e.update(func(tx *catalog.Tx) error {
		return tx.PutAccount(catalog.Account{Name: "second", Role: catalog.RoleAdmin})
	})
	second := e.made(e.tokens["admin"], api.TokenRequest{Account: "second"})
	forOthers := e.made(second.Token, api.TokenRequest{Account: "admin"})
	role(catalog.RoleViewer)
	if e.opens(forOthers.Token) || !e.opens(second.Token) {
		t.Error("a viewer's former token for an administrator still opens, or its own does not")
	}
	role(catalog.RoleAdmin)
	if !e.opens(forOthers.Token) {
		t.Error("the token does not open though its maker is an administrator")
	}
	e.update(func(tx *catalog.Tx) error { return command.RemoveAccount(tx, "second") })
	if e.opens(forOthers.Token) {
		t.Error("a token outlived its maker's account")
	}

	ended, err := e.api(e.tokens["admin"]).DeleteToken(ctx, hour.ID)
	if err != nil || len(ended.Ended) != 4 {
		t.Errorf("%+v %v", ended, err)
	}
	for _, token := range []api.TokenAnswer{hour, child, other, grandchild} {
		if e.opens(token.Token) || shared.View().Tokens[token.ID] != nil {
			t.Error("a token outlived the one that made it")
		}
	}
	chain := e.made(e.tokens["viewer"], api.TokenRequest{})
	for range 20 {
		next, err := e.api(chain.Token).NewToken(ctx, api.TokenRequest{})
		if err != nil {
			var refused *refusal.Error
			if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
				t.Error(err)
			}
			return
		}
		chain = next
	}
	t.Error("tokens made one another without end")
}

// A token of an hour made an account with a password, which has no end. With a credential
// that ends by itself, accounts need the caller's own password; without one on the account
// they cannot be made. Invites end with their maker.
func TestNoAccountFromATokenThatEnds(t *testing.T) {
	e := start(t, nil)
	ctx := context.Background()
	hour := e.made(e.tokens["admin"], api.TokenRequest{TTL: "1h"})
	login, err := e.api("").Login(ctx, api.LoginRequest{Account: "admin", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	evil := api.AccountRequest{Name: "evil", Role: catalog.RoleAdmin, Password: "a password of its own"}
	for what, token := range map[string]string{"a token of an hour": hour.Token, "a login": login.Token} {
		_, err := e.api(token).PutAccount(ctx, evil)
		var refused *refusal.Error
		if !errors.As(err, &refused) || refused.Code != "confirm" {
			t.Errorf("%s made an account: %v", what, err)
		}
		wrong := evil
		wrong.Confirm = "not the password 123"
		if _, err := e.api(token).PutAccount(ctx, wrong); api.ExitCode(err) != 3 {
			t.Errorf("%s made an account with a wrong password: %v", what, err)
		}
		own := api.AccountRequest{Name: "admin", Password: "another password 1"}
		if _, err := e.api(token).PutAccount(ctx, own); api.ExitCode(err) != 3 {
			t.Errorf("%s changed the password: %v", what, err)
		}
	}
	if shared.View().Accounts["evil"] != nil {
		t.Fatal("the account is there")
	}
	right := evil
	right.Confirm = password
	if _, err := e.api(login.Token).PutAccount(ctx, right); err != nil {
		t.Errorf("with the password: %v", err)
	}
	e.update(func(tx *catalog.Tx) error { return command.RemoveAccount(tx, "evil") })
	if _, err := e.api(e.tokens["admin"]).PutAccount(ctx, evil); err != nil {
		t.Errorf("with a token that does not end: %v", err)
	}
	e.update(func(tx *catalog.Tx) error {
		return errors.Join(command.RemoveAccount(tx, "evil"), tx.PutAccount(catalog.Account{Name: "robot", Role: catalog.RoleAdmin}))
	})
	robot := e.made(e.tokens["admin"], api.TokenRequest{Account: "robot", TTL: "1h"})
	if _, err := e.api(robot.Token).PutAccount(ctx, evil); api.ExitCode(err) != 3 || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("a token of an account without a password made an account: %v", err)
	}
	if resp, body := e.request("POST", "/v1/invites", hour.Token, `{"ttl":"2h"}`); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a token of an hour made an invite of two: %d %s", resp.StatusCode, body)
	}
	entries, err := shared.Audit(ctx, 20)
	if err != nil {
		t.Fatal(err)
	}
	named := false
	for _, entry := range entries {
		named = named || entry.Token == login.ID && entry.Action == "put account"
	}
	if !named {
		t.Error("the audit does not name the token")
	}
}
