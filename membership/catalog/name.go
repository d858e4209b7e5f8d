package catalog

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
)

// maxName is the longest name: a site's name becomes a folder, a cookie and part
// of an operating system account's name.
const maxName = 40

// devices are names that Windows keeps for itself in every folder.
var devices = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true, "conin": true, "conout": true, "clock": true,
	"com0": true, "com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"lpt0": true, "lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// ValidName checks the name of a site, a member or an account; kind is the word
// that the error says. A name has 1 to 40 lower-case letters, digits and hyphens,
// begins with a letter or digit, does not end with a hyphen, and is not a device
// name of Windows. So it is safe as a folder, a host label and an argument.
func ValidName(kind, name string) error {
	shown := name
	if len(shown) > 60 {
		shown = shown[:60] + "…"
	}
	bad := func(why string) error {
		return fmt.Errorf("%w: %s name %q %s; use lower-case letters, digits and hyphens, such as %q", ErrInvalid, kind, shown, why, "shop-2")
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > maxName:
		return bad(fmt.Sprintf("has %d bytes, the most is %d", len(name), maxName))
	case name[0] == '-':
		return bad("begins with a hyphen")
	case name[len(name)-1] == '-':
		return bad("ends with a hyphen")
	case devices[name]:
		return bad("is a device name on Windows")
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
			return bad(fmt.Sprintf("contains %q", r))
		}
	}
	return nil
}

// ValidDigest checks a SHA-256 in lower-case hexadecimal.
func ValidDigest(digest string) error {
	if len(digest) == 64 && strings.Trim(digest, "0123456789abcdef") == "" {
		return nil
	}
	return fmt.Errorf("%w: digest %.70q is not 64 hexadecimal digits", ErrInvalid, digest)
}

// ValidInstanceID checks an id made by NewInstanceID.
func ValidInstanceID(id string) error {
	if len(id) == 26 && strings.Trim(id, idAlphabet) == "" {
		return nil
	}
	return fmt.Errorf("%w: instance id %.40q is not 26 characters of lower-case base32", ErrInvalid, id)
}

// validID checks an id or an inner name that becomes part of a key.
func validID(kind, id string) error {
	ok := id != "" && len(id) <= 128
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	if !ok {
		return fmt.Errorf("%w: %s id %.60q", ErrInvalid, kind, id)
	}
	return nil
}

const idAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// sortAlphabet is base32 whose letters sort as their values do.
const sortAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var sortEncoding = base32.NewEncoding(sortAlphabet).WithPadding(base32.NoPadding)

// NewID returns a random id that sorts by now, to the millisecond: 26 characters,
// of which 80 bits are random.
func NewID(now time.Time) string {
	var b [16]byte
	ms := uint64(max(now.UnixMilli(), 0))
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(b[6:])
	return sortEncoding.EncodeToString(b[:])
}

// NewInstanceID returns a new instance's id: 128 random bits as 26 characters of
// lower-case base32.
func NewInstanceID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return idEncoding.EncodeToString(b[:])
}
