package agent

import (
	"errors"
	"fmt"
	"slices"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/state"
)

// siteAccount returns the account that a site's processes run as. Without root
// that is the agent's own.
func (a *Agent) siteAccount(site string, s sites.Settings) (account.Account, error) {
	if !a.root {
		return account.Own(s.User)
	}
	switch {
	case s.User != "" && !slices.Contains(a.o.AllowUsers, s.User):
		return account.Account{}, fmt.Errorf("user %q is not among the accounts that this machine allows to sites: leave user empty, or name it in agent.allow_users there", s.User)
	case s.User != "":
		return account.Named(s.User)
	case a.o.SiteUser != "":
		return account.Named(a.o.SiteUser)
	}
	return a.derivedAccount(site)
}

// derivedAccount gives a site a user id of its own and keeps it as long as the
// site has data here.
func (a *Agent) derivedAccount(site string) (account.Account, error) {
	var id int
	a.state.Peek(func(s *state.File) { id = s.UIDs[site] })
	if id == 0 {
		var err error
		// Durable before the first file is owned by it: an id handed out twice
		// would open one site's files to another.
		serr := a.state.Change(func(s *state.File) {
			if id, err = account.Free(site, a.o.Dir, a.sites.IDs, s.UIDs); err == nil {
				s.UIDs[site] = id
			}
		})
		if err := errors.Join(err, serr); err != nil {
			return account.Account{}, err
		}
	}
	return account.Account{UID: id, GID: id, Name: "portico-" + site}, nil
}
