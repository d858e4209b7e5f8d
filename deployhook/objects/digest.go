package objects

import (
	"crypto/sha256"
	"encoding/hex"
)

// digestLen is the length of a digest as text: SHA-256 in lower-case hexadecimal.
const digestLen = 2 * sha256.Size

// ValidDigest reports whether s has the form of a digest: 64 characters of
// lower-case hexadecimal. Nothing else ever becomes part of a path.
func ValidDigest(s string) bool {
	if len(s) != digestLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Sum returns the digest of b.
func Sum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
