package admin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// TestGuessing is D5: wrong tokens and passwords cost a growing pause, from one
// address and against one account, and never show in the log.
func TestGuessing(t *testing.T) {
	e := start(t, nil)
	synctest.Test(t, func(t *testing.T) {
		try := func(addr, token string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "https://127.0.0.1/v1/whoami", nil)
			r.RemoteAddr = addr
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			e.admin.ServeHTTP(w, r)
			return w
		}
		wrong := "abc.super-secret-guess"
		var slowed int
		begun := time.Now()
		for range 200 {
			w := try("192.0.2.7:1000", wrong)
			if w.Code == http.StatusTooManyRequests {
				slowed++
				if w.Header().Get("Retry-After") == "" {
					t.Fatal("no Retry-After")
				}
				time.Sleep(time.Second)
			}
		}
		if slowed < 150 {
			t.Errorf("only %d of 200 guesses were slowed", slowed)
		}
		if guesses := 200 - slowed; guesses > 30 || time.Since(begun) < 100*time.Second {
			t.Errorf("%d guesses in %s", guesses, time.Since(begun))
		}
		// Others may be behind that address: one stale token must not lock them out (D5b).
		if w := try("192.0.2.7:1001", e.tokens["viewer"]); w.Code != http.StatusOK {
			t.Errorf("a right token during the pause: %d", w.Code)
		}
		if w := try("192.0.2.7:1001", wrong); w.Code != http.StatusTooManyRequests {
			t.Errorf("a right token ended the pause of wrong ones: %d", w.Code)
		}
		if w := try("192.0.2.8:1001", e.tokens["viewer"]); w.Code != http.StatusOK {
			t.Errorf("another address: %d", w.Code)
		}
		time.Sleep(time.Minute)
		if w := try("192.0.2.7:1001", e.tokens["viewer"]); w.Code != http.StatusOK {
			t.Errorf("a right token after the pause: %d", w.Code)
		}
	})
	log := e.log.String()
	if strings.Contains(log, "super-secret") || !strings.Contains(log, "token refused") {
		t.Errorf("log: %.500s", log)
	}
	if lines := strings.Count(log, "token refused"); lines > 30 {
		t.Errorf("200 wrong tokens make %d lines in the log", lines)
	}
}

// The pause after six wrong passwords begins with the answer to the last one: a request that itself took longer than
// the pause, as its body came slowly or the machine was busy, left none.
func TestGuessingPasswords(t *testing.T) {
	e := start(t, nil)
	synctest.Test(t, func(t *testing.T) {
		try := func(word string, took time.Duration) *httptest.ResponseRecorder {
			body := fmt.Sprintf(`{"account":"viewer","password":%q}`, word)
			r := httptest.NewRequest(http.MethodPost, "https://127.0.0.1/v1/login", &lateReader{strings.NewReader(body), took})
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			e.admin.ServeHTTP(w, r)
			return w
		}
		for range 6 {
			if w := try("wrong-guess-123", 3*time.Second); w.Code != http.StatusUnauthorized {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		for _, word := range []string{"wrong-guess-123", password} {
			if w := try(word, 0); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "slow_down") {
				t.Fatalf("after six wrong passwords: %d %s", w.Code, w.Body) // a right one would be taken, which writes outside the bubble
			}
		}
	})
	if strings.Contains(e.log.String(), "wrong-guess") {
		t.Error("a password is in the log")
	}
	entries, err := shared.Audit(context.Background(), 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Action == "login" && entry.Failed {
			t.Errorf("wrong guesses fill the audit log: %+v", entry)
		}
	}
}

func TestLoginByAPI(t *testing.T) {
	e := start(t, nil)
	answer, err := e.api("").Login(context.Background(), api.LoginRequest{Account: "operator", Password: password, Label: "laptop", TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	who, err := e.api(answer.Token).Whoami(context.Background())
	if err != nil || who.Account != "operator" || who.Role != catalog.RoleOperator {
		t.Errorf("%+v %v", who, err)
	}
	if left := time.Until(answer.Expires); left > time.Hour || left < 59*time.Minute {
		t.Errorf("expires in %s", left)
	}
}
