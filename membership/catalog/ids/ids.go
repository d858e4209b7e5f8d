// Package ids makes and checks the ids that become parts of the catalog's keys, and knows what an id of a release says. It does not
// know what there is.
package ids

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"portico/conf/sites"
)

// ValidDigest checks a SHA-256 in lower-case hexadecimal.
func ValidDigest(digest string) error {
	if len(digest) == 64 && strings.Trim(digest, "0123456789abcdef") == "" {
		return nil
	}
	return fmt.Errorf("%w: digest %.70q is not 64 hexadecimal digits", sites.ErrInvalid, digest)
}

// ValidInstance checks an id made by NewInstance.
func ValidInstance(id string) error {
	if len(id) == 26 && strings.Trim(id, alphabet) == "" {
		return nil
	}
	return fmt.Errorf("%w: instance id %.40q is not 26 characters of lower-case base32", sites.ErrInvalid, id)
}

// Valid checks an id or an inner name that becomes part of a key.
func Valid(kind, id string) error {
	ok := id != "" && len(id) <= 128
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	if !ok {
		return fmt.Errorf("%w: %s id %.60q", sites.ErrInvalid, kind, id)
	}
	return nil
}

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// sortAlphabet is base32 whose letters sort as their values do.
const sortAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var sortEncoding = base32.NewEncoding(sortAlphabet).WithPadding(base32.NoPadding)

// New returns a random id that sorts by now, to the millisecond: 26 characters,
// of which 80 bits are random.
func New(now time.Time) string {
	var b [16]byte
	ms := uint64(max(now.UnixMilli(), 0))
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(b[6:])
	return sortEncoding.EncodeToString(b[:])
}

// NewInstance returns a new instance's id: 128 random bits as 26 characters of
// lower-case base32.
func NewInstance() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return encoding.EncodeToString(b[:])
}
