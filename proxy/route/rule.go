package route

import (
	"fmt"
	"strings"
)

// Rule says which requests are a site's, and over which connections they may come.
type Rule struct {
	Hosts    []string // normalized, a wildcard's after "*."; none: all that no other site names
	Mount    string   // "/" or a normalized path without a final "/"
	TLSMode  string   // as of sites.TLS.Mode
	Redirect string   // to TLS, as of sites.TLS.Redirect
	Private  bool     // connections to instances serve one client connection each, so it speaks HTTP/1.1
}

// NewRule returns the rule of a site's hosts and its path, brought into the form in which they are compared.
func NewRule(hosts []string, path string) (Rule, error) {
	mount, ok := NormalizePath(path)
	if !ok {
		return Rule{}, fmt.Errorf("path %q must begin with \"/\"", path)
	}
	if mount != "/" {
		mount = strings.TrimSuffix(mount, "/")
	}
	r := Rule{Mount: mount}
	for _, h := range hosts {
		bare, wild := strings.CutPrefix(h, "*.")
		norm, ok := ParseHost(bare)
		if !ok {
			return Rule{}, fmt.Errorf("host %q is not a host name", h)
		}
		if wild {
			norm = "*." + norm
		}
		r.Hosts = append(r.Hosts, norm)
	}
	return r, nil
}
