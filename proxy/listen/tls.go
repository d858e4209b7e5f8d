package listen

import (
	"crypto/tls"
	"slices"
)

// ServerTLS adds what the front door insists on to the certificates' configuration.
// It offers HTTP/2 but for hosts whose sites are all private.
func ServerTLS(base *tls.Config, private func(host string) bool) *tls.Config {
	c := base.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	protos := []string{"h2", "http/1.1"}
	for _, p := range c.NextProtos {
		if p != "h2" && p != "http/1.1" && p != "http/1.0" {
			protos = append(protos, p)
		}
	}
	c.NextProtos = protos
	c.GetConfigForClient = offer(c, private)
	return c
}

// offer is what a client may speak who opens a connection for a host: HTTP/1.1 alone where every site of the host would refuse HTTP/2,
// because many programs do not go back to HTTP/1.1 by themselves. A nil answer means base.
// private reports whether every site of a host would.
func offer(base *tls.Config, private func(host string) bool) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	old := base.Clone()
	old.NextProtos = slices.DeleteFunc(slices.Clone(base.NextProtos), func(p string) bool { return p == "h2" })
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if !private(hello.ServerName) {
			return nil, nil // as crypto/tls wants it: no change
		}
		return old, nil
	}
}
