package agent

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"portico/membership/catalog"
)

// KnownProxies returns the proxies that the wanted state in a state directory names: where a
// machine that was accepted finds its cluster. No agent may run there.
func KnownProxies(dir string) ([]catalog.Peer, error) {
	s, err := readState(filepath.Join(dir, "agent", "state.json"))
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
	name := filepath.Join(dir, "agent", "state.json")
	s, err := readState(name)
	if err != nil || s.Wanted == nil {
		return err
	}
	s.Wanted.Proxies, s.Wanted.Servers = nil, nil
	if all {
		s.Wanted = nil
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = writeFile(name, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write agent state: %w", err)
	}
	return nil
}
