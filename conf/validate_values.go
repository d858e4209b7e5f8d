package conf

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"portico/internal/nearest"
	"portico/internal/units"
)

// portOnly helps who wrote 8080 and meant :8080.
func portOnly(addr string) string {
	if validPort(addr, true) {
		return fmt.Sprintf(", here \":%s\"", addr)
	}
	return ""
}

func (k *checker) oneOf(path, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	k.wrong(path, "%q %s", clip(value), nearest.Remedy(value, allowed))
}

func (k *checker) positive(path string, d units.Duration) {
	if d <= 0 {
		k.wrong(path, "is zero: waiting must end, write a time such as 30s")
	}
}

func (k *checker) between(path string, n, least, most int) {
	if n < least || n > most {
		k.wrong(path, "%d is out of range: write %d to %d", n, least, most)
	}
}

func (k *checker) size(path string, n, least, most units.Size) {
	if n < least || n > most {
		k.wrong(path, "%v is out of range: write %v to %v", n, least, most)
	}
}

func (k *checker) url(path, text, example string, schemes ...string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || !plain(text):
		k.wrong(path, "%q is not a URL: write one such as %s", clip(text), example)
	case !slices.Contains(schemes, u.Scheme):
		k.wrong(path, "%q does not begin with %s://", clip(text), strings.Join(schemes, ":// or "))
	case u.User != nil:
		k.wrong(path, "bears a user or password, which would end up in logs: take them out")
	}
}

// ParseFingerprint reads "sha256:" and 64 hexadecimal digits, in any case,
// with or without colons between the bytes, and returns the 32 bytes.
func ParseFingerprint(text string) ([]byte, error) {
	digits, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), "sha256:")
	sum, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if !found || err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("%q is not a fingerprint: copy it from the proxy's start or its page, it is sha256: and 64 digits", clip(text))
	}
	return sum, nil
}

// Prefixes reads a list of addresses and networks. An address is a network of
// one. The list of a valid Config never fails.
func Prefixes(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("read network %q: %w", clip(text), err)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return a.Prefix(a.BitLen())
}

func validPort(port string, zero bool) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && (n > 0 || zero)
}

// validLabel reports whether s is one DNS label.
func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// validHost reports whether s is a host name or IP address.
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(strings.ReplaceAll(label, "_", "x")) {
			return false
		}
	}
	return true
}

// plain reports whether s can be shown and logged as it is.
func plain(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
