package store

import (
	"fmt"

	"portico/membership/catalog/store/peers"
)

// admit decides at each handshake who may speak with this proxy's catalog: the
// accepted proxies, with the keys that they were accepted with. Never an
// application server: its certificate is as genuine as a proxy's.
//
// A proxy that has none of the catalog yet, or was away while another one joined,
// does not know everybody. While it has no leader, or one that it has never heard
// of, it lets other strangers in too, since one of them has what it lacks; their
// certificate says that they are proxies, and the others have let them in.
func (s *Store) admit(role peers.Role, name, fingerprint string) error {
	if role != peers.RoleProxy {
		return fmt.Errorf("%s %q may not speak with the catalog: it is for proxies", role, name)
	}
	switch m := s.o.Members.Member(name); {
	case m.Unread:
	case !m.Found:
		if s.Led() && !s.strangerLeads() {
			return fmt.Errorf("proxy %q is not known", name)
		}
	case !m.Accepted || !m.Listens || m.Fingerprint != fingerprint:
		return fmt.Errorf("proxy %q is not accepted with this key", name)
	}
	return nil
}

// strangerLeads reports whether this process does not know who leads.
func (s *Store) strangerLeads() bool {
	server := s.run.Load().etcd.Server
	m := server.Cluster().Member(server.Leader())
	return m == nil || m.Name != "" && !s.o.Members.Member(m.Name).Found
}
