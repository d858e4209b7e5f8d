package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"portico/conf/sites"
)

// The page's login lasts an hour without a request and half a day at most.
const (
	loginCookie = sites.AdminCookie
	loginIdle   = time.Hour
	loginLife   = 12 * time.Hour
	loginTable  = 1024 // logouts remembered until their cookies would have ended
)

// login is one person's stay on the page, sealed into its cookie: the listener
// keeps nothing but the logouts.
type login struct {
	ID      string    `json:"i"`
	Account string    `json:"a"`
	Proof   string    `json:"p"` // of the account's password hash: a new password ends old logins
	Begun   time.Time `json:"b"`
	Issued  time.Time `json:"t"`
}

// csrf is what a form must send back: bound to the login and useless without
// its cookie.
func (l *login) csrf(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("csrf\x00" + l.ID + "\x00" + l.Account))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// logins seals and opens login cookies.
type logins struct {
	sealing atomic.Pointer[sealing]

	mu    sync.Mutex
	ended map[string]time.Time // login ids that logged out, and when they may be forgotten; guarded by mu
}

// sealing is the key of the moment.
type sealing struct {
	aead cipher.AEAD
	key  []byte
}

var errLogin = errors.New("open login: the cookie is not ours or has ended")

// newLogins takes a key of 32 bytes, or makes one where key is nil: then a
// restart ends all logins.
func newLogins(key []byte) (*logins, error) {
	if key == nil {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails, see crypto/rand
	}
	s := &logins{ended: map[string]time.Time{}}
	return s, s.setKey(key)
}

// setKey replaces the key of 32 bytes, which ends all logins that another one sealed.
func (s *logins) setKey(key []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	s.sealing.Store(&sealing{aead, key})
	return nil
}

// csrfKey is what the forms' answers are bound with.
func (s *logins) csrfKey() []byte { return s.sealing.Load().key }

func proofOf(passwordHash string) string {
	sum := sha256.Sum256([]byte("login\x00" + passwordHash))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (s *logins) begin(account, passwordHash string, now time.Time) *login {
	return &login{ID: randomText(15), Account: account, Proof: proofOf(passwordHash), Begun: now, Issued: now}
}

// cookie seals l.
func (s *logins) cookie(l *login) *http.Cookie {
	plain, err := json.Marshal(l)
	if err != nil {
		panic("BUG: encode login: " + err.Error())
	}
	aead := s.sealing.Load().aead
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	sealed := aead.Seal(nonce, nonce, plain, []byte(loginCookie))
	return &http.Cookie{
		Name: loginCookie, Value: base64.RawURLEncoding.EncodeToString(sealed), Path: "/",
		MaxAge: int(loginIdle / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

func (s *logins) open(value string, now time.Time) (*login, error) {
	if len(value) > 2048 {
		return nil, errLogin
	}
	aead := s.sealing.Load().aead
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(sealed) < aead.NonceSize() {
		return nil, errLogin
	}
	n := aead.NonceSize()
	plain, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(loginCookie))
	if err != nil {
		return nil, errLogin
	}
	var l login
	if err := json.Unmarshal(plain, &l); err != nil {
		return nil, errLogin
	}
	if now.Sub(l.Issued) > loginIdle || now.Sub(l.Begun) > loginLife || s.isEnded(l.ID) {
		return nil, errLogin
	}
	return &l, nil
}

func (s *logins) isEnded(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ended[id]
	return ok
}

// end makes l's cookies worthless, also where copies of them exist.
func (s *logins) end(l *login, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, until := range s.ended {
		if now.After(until) || len(s.ended) >= loginTable {
			delete(s.ended, id)
		}
	}
	s.ended[l.ID] = l.Begun.Add(loginLife)
}
