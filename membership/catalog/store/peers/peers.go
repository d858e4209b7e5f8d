// Package peers is where the proxies of a cluster reach one another's store: who listens, who gets past the handshake,
// whose connections end. It does not know what they say.
package peers

import (
	"crypto/tls"
	"fmt"
	"net"

	"portico/conf/sites"
)

// Role is what a member does in the cluster. Its certificate says so.
type Role string

// The roles of a member.
const (
	RoleProxy  Role = "proxy"
	RoleServer Role = "server" // an application server; its process is the agent
)

// Options say how the proxies of a cluster reach one another's catalog. The names,
// keys and roles of those who may are the catalog's own: see Member.
type Options struct {
	// Listen is the host:port to listen on. Nothing does while there is one proxy.
	Listen string

	// Advertise is the host:port that the others connect to.
	Advertise string

	// ServerTLS makes the server's side of mutual TLS, which asks check at each
	// handshake; ClientTLS the client's towards the proxy called name.
	ServerTLS func(check func(role Role, name, fingerprint string) error) *tls.Config
	ClientTLS func(name string, check func(role Role, name, fingerprint string) error) *tls.Config

	// Peer tells whose certificate a connection shows, which ServerTLS has verified.
	Peer func(tls.ConnectionState) (role Role, name, fingerprint string)

	// Cert, Key and CA are PEM files: what this proxy shows to the others, and the
	// cluster's authority. The first two are read at each connection.
	Cert, Key, CA string

	// Join is how to begin in an empty folder: with the catalog of others. Nil: a
	// new cluster. A folder that holds a catalog goes on with that.
	Join *Joining
}

// Joining is what a proxy needs to begin with the catalog of others: the answer
// of AddReplica.
type Joining struct {
	Members []string `json:"members"` // URLs of all who have the catalog, the new one among them
}

// Valid refuses what cannot work.
func (o *Options) Valid() error {
	for what, addr := range map[string]string{"listen": o.Listen, "advertise": o.Advertise} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%w: %q is no address to %s", sites.ErrInvalid, addr, what)
		}
	}
	for _, path := range []string{o.Cert, o.Key, o.CA} {
		if path == "" {
			return fmt.Errorf("%w: the files of the own certificate are not named", sites.ErrInvalid)
		}
	}
	return nil
}
