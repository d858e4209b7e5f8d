package appserver

import (
	"portico/conf"
	"portico/deployhook/agent/state"
	"portico/internal/exitcode"
	"portico/internal/preflight"
	"portico/membership/catalog"
)

// Preflight looks at everything on this machine that an agent needs, but for its addresses.
func Preflight(c conf.Config) error {
	if err := CheckFiles(c); err != nil {
		return err
	}
	id, err := preflight.State(c.Dir)
	if err != nil || id == nil {
		return err
	}
	if err := state.Check(c.Dir); err != nil {
		return err
	}
	if _, err := preflight.OwnName(id, catalog.RoleServer, c.Agent.Name, c.Dir); err != nil {
		return exitcode.Misuse(err)
	}
	return nil
}

// Addresses are those that a start binds.
func Addresses(c conf.Config) []preflight.Address {
	return []preflight.Address{
		{Flag: "--listen", Setting: "agent.address", Value: c.Agent.Address},
		{Flag: "--gossip", Setting: "gossip.address", Value: c.Gossip.Address, UDP: true},
	}
}

// CheckFiles looks whether the files that a configuration names for an agent can be read.
func CheckFiles(c conf.Config) error {
	return preflight.Readable(map[string]string{
		"agent.tomcat.password_file": c.Agent.Tomcat.PasswordFile, "agent.invite_file": c.Agent.InviteFile,
	})
}
