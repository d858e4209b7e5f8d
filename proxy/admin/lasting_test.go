package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/deployhook/logs"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin"
	"portico/proxy/admin/api"
)

// A log that was followed with a token went on after the token had ended, for as long as the
// reader liked. What lasts ends when its credential ends or opens less, and with nothing else.
func TestLastingRequestsEndWithTheirCredential(t *testing.T) {
	e := start(t, func(o *admin.Options) {
		o.Logs = func(ctx context.Context, w io.Writer, _ logs.Query) error {
			for ctx.Err() == nil {
				if _, err := fmt.Fprintln(w, "a line"); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
			return nil
		}
	})
	account := func(change func(*catalog.Account)) func(api.TokenAnswer) {
		return func(api.TokenAnswer) {
			e.update(func(tx *catalog.Tx) error {
				_, err := command.ChangeAccount(tx, "follower", func(a *catalog.Account) error { change(a); return nil })
				return err
			})
		}
	}
	for name, c := range map[string]struct {
		ttl  string
		then func(api.TokenAnswer)
		goes bool
	}{
		"token ended": {"1h", func(a api.TokenAnswer) {
			e.update(func(tx *catalog.Tx) error { command.EndToken(tx, a.ID); return nil })
		}, false},
		"token expired":    {"1s", func(api.TokenAnswer) {}, false},
		"account disabled": {"1h", account(func(a *catalog.Account) { a.Disabled = true }), false},
		"account removed": {"1h", func(api.TokenAnswer) {
			e.update(func(tx *catalog.Tx) error { return command.RemoveAccount(tx, "follower") })
		}, false},
		"another password":   {"1h", account(func(a *catalog.Account) { a.Password = "another" }), false},
		"lower role":         {"1h", account(func(a *catalog.Account) { a.Role = catalog.RoleViewer }), false},
		"site taken away":    {"1h", account(func(a *catalog.Account) { a.Sites = []string{"blog"} }), false},
		"another site taken": {"1h", account(func(a *catalog.Account) { a.Sites = []string{"shop"} }), false},
		"higher role":        {"1h", account(func(a *catalog.Account) { a.Role, a.Sites = catalog.RoleOperator, nil }), true},
		"more sites":         {"1h", account(func(a *catalog.Account) { a.Sites = nil }), true},
	} {
		e.update(func(tx *catalog.Tx) error {
			return tx.PutAccount(catalog.Account{Name: "follower", Role: catalog.RoleDeployer, Sites: []string{"shop", "blog"}})
		})
		token := e.made(e.tokens["admin"], api.TokenRequest{Account: "follower", TTL: c.ttl})
		answer := e.lasting(http.MethodGet, "/v1/sites/shop/logs?follow=1", token.Token, nil)
		lines := bufio.NewScanner(answer.Body)
		if answer.StatusCode != http.StatusOK || !lines.Scan() {
			t.Fatalf("%s: status %d", name, answer.StatusCode)
		}
		c.then(token)
		ended := make(chan error, 1)
		go func() {
			for lines.Scan() {
			}
			ended <- lines.Err()
		}()
		wait := time.Minute
		if c.goes {
			wait = 300 * time.Millisecond
		}
		select {
		case err := <-ended:
			if c.goes {
				t.Errorf("%s: the log ended: %v", name, err)
			} else if err == nil {
				t.Errorf("%s: the log ended as if it were whole", name)
			}
		case <-time.After(wait):
			if !c.goes {
				t.Errorf("%s: the log goes on", name)
			}
		}
		_ = answer.Body.Close()
	}
}

// An upload of many minutes began a deploy long after its token had ended.
func TestUploadEndsWithItsToken(t *testing.T) {
	begun, read := make(chan struct{}), make(chan error, 1)
	e := start(t, func(o *admin.Options) {
		o.Archive = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadFull(r.Body, make([]byte, 1<<10))
			close(begun)
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			read <- err
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
		})
	})
	token := e.made(e.tokens["admin"], api.TokenRequest{TTL: "1h"})
	body, more := io.Pipe()
	defer more.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if answer := e.lasting(http.MethodPut, "/v1/sites/shop/archive", token.Token, body); answer != nil {
			_ = answer.Body.Close()
		}
	}()
	if _, err := io.WriteString(more, strings.Repeat("x", 1<<10)); err != nil {
		t.Fatal(err)
	}
	<-begun
	e.update(func(tx *catalog.Tx) error { command.EndToken(tx, token.ID); return nil })
	select {
	case err := <-read:
		if err == nil {
			t.Error("the upload was read to its end")
		}
	case <-time.After(time.Minute):
		t.Error("the upload goes on without a credential")
	}
	_ = more.Close()
	<-sent
}

// lasting sends a request and returns its answer as soon as that has begun, nil when there is none.
func (e *env) lasting(method, path, token string, body io.Reader) *http.Response {
	e.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, e.server.URL+path, body)
	if err != nil {
		e.t.Error(err)
		return nil
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := e.server.Client().Do(r)
	if err != nil && body == nil {
		e.t.Fatal(err)
	}
	return answer
}
