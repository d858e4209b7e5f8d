package state

import (
	"portico/membership/catalog/messages"
)

// KnownProxies returns the proxies that the wanted state in a state directory names: where a
// machine that was accepted finds its cluster. No agent may run there.
func KnownProxies(dir string) ([]messages.Peer, error) {
	s, err := read(fileOf(dir))
	if err != nil || s.Wanted == nil {
		return nil, err
	}
	return s.Wanted.Proxies, nil
}

// ForgetMembers makes the next agent on a state directory believe the certificates of its cluster
// until a proxy has told it who the members are: what was known before says nothing about
// who is a member when this machine comes back as one. With all it forgets its sites, too. No
// agent may run there.
func ForgetMembers(dir string, all bool) error {
	name := fileOf(dir)
	s, err := read(name)
	if err != nil || s.Wanted == nil {
		return err
	}
	s.Wanted.Proxies, s.Wanted.Servers = nil, nil
	if all {
		s.Wanted = nil
	}
	return write(name, s)
}
