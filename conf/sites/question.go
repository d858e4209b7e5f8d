package sites

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Question is short for what a check asks and expects, so that two who check can tell whether they ask the same. How often, and
// how long they wait, is not part of it.
func (h Health) Question() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{h.Type, h.Path, h.Host, h.Status, h.Body}, "\x00")))
	return hex.EncodeToString(sum[:8])
}
