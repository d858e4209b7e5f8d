package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// argon2id with 19 MiB, two passes and one lane: OWASP's first choice for a
// server. More memory would be stronger and would let a handful of guesses at
// once fill a small machine.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32

	minPassword = 10
	maxPassword = 1024 // more is no stronger and only costs time
)

// HashPassword returns password's argon2id hash in PHC form, as
// catalog.Account keeps it. It refuses passwords of fewer than 10 characters
// and of more than 1024 bytes.
func HashPassword(password string) (string, error) {
	if utf8.RuneCountInString(password) < minPassword || len(password) > maxPassword {
		return "", fmt.Errorf("check password: choose between %d and %d characters", minPassword, maxPassword)
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

var errPasswordHash = errors.New("read password hash: not an argon2id hash of ours")

// VerifyPassword reports whether password has the given PHC hash. Parameters
// beyond 256 MiB or 10 passes are refused, so that a record cannot be used to
// stall the listener.
func VerifyPassword(hash, password string) (bool, error) {
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || len(password) > maxPassword {
		return false, errPasswordHash
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, errPasswordHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil ||
		memory > 256*1024 || memory < 8 || passes > 10 || passes == 0 || threads == 0 || threads > 16 {
		return false, errPasswordHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) < 16 || len(want) > 64 || len(salt) < 8 {
		return false, errPasswordHash
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// hasher lets only a few password checks run at once: each takes 19 MiB.
type hasher struct {
	slots chan struct{}
	dummy string // checked where there is no account, so that both answers take the same time
}

func newHasher() *hasher {
	dummy, err := HashPassword(randomText(16))
	if err != nil {
		panic("BUG: hash a random password: " + err.Error())
	}
	return &hasher{slots: make(chan struct{}, 2), dummy: dummy}
}

// verify is VerifyPassword with a queue; an empty hash costs as much and is
// never right.
func (h *hasher) verify(ctx context.Context, hash, password string) (bool, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if hash == "" {
		_, err := VerifyPassword(h.dummy, password)
		return false, err
	}
	return VerifyPassword(hash, password)
}
