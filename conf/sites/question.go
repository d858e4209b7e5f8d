package sites

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Question is short for what a check asks and expects, so that two who check can tell whether they ask the same. How often, and
// how long they wait, is not part of it. Members of versions without h2c ask in HTTP/1.1 whatever the setting, so the word for
// that is the one that they have: only h2c makes it another.
func (f Front) Question() string {
	h := f.Health
	asked := []string{h.Type, h.Path, h.Host, h.Status, h.Body}
	if f.Protocol == ProtocolH2C {
		asked = append(asked, f.Protocol)
	}
	sum := sha256.Sum256([]byte(strings.Join(asked, "\x00")))
	return hex.EncodeToString(sum[:8])
}
