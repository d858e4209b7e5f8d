package agent

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/user"
	"slices"
	"strconv"

	"portico/conf/sites"
)

// sharedIDs lie in no range that distributions, systemd or container runtimes
// hand out by themselves, see systemd's UIDS-GIDS.
var sharedIDs = IDRange{First: 1_900_000_000, Count: 65536}

// containerIDs are used where the ids above do not exist: in a user namespace
// that maps 65536 of them.
var containerIDs = IDRange{First: 40_000, Count: 20_000}

// siteAccount returns the account that a site's processes run as. Without root
// that is the agent's own.
func (a *Agent) siteAccount(site string, s sites.Settings) (account, error) {
	if !a.root {
		return a.ownAccount(s.User)
	}
	switch {
	case s.User != "" && !slices.Contains(a.o.AllowUsers, s.User):
		return account{}, fmt.Errorf("user %q is not among the accounts that this machine allows to sites: leave user empty, or name it in agent.allow_users there", s.User)
	case s.User != "":
		return namedAccount(s.User)
	case a.o.SiteUser != "":
		return namedAccount(a.o.SiteUser)
	}
	return a.derivedAccount(site)
}

func (a *Agent) ownAccount(want string) (account, error) {
	u, err := user.Current()
	if err != nil && os.Getuid() >= 0 { // a container may run under a number that has no name
		u, err = &user.User{Uid: strconv.Itoa(os.Getuid()), Gid: strconv.Itoa(os.Getgid()), Username: strconv.Itoa(os.Getuid())}, nil
	}
	if err != nil {
		return account{}, fmt.Errorf("look up the agent's account: %w", err)
	}
	if want != "" && want != u.Username {
		return account{}, fmt.Errorf("user %q: the agent runs as %q and cannot start processes as anybody else; run it as root, or leave user empty", want, u.Username)
	}
	// Windows has no such numbers; they are not used there.
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return account{UID: uid, GID: gid, Name: u.Username, Shared: true}, nil
}

func namedAccount(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("user %q: %w", name, err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(uerr, gerr); err != nil {
		return account{}, fmt.Errorf("user %q: %w", name, err)
	}
	if uid == 0 {
		return account{}, fmt.Errorf("user %q is root: a site never runs as root", name)
	}
	return account{UID: uid, GID: gid, Name: name, Shared: true}, nil
}

// derivedAccount gives a site a user id of its own and keeps it as long as the
// site has data here.
func (a *Agent) derivedAccount(site string) (account, error) {
	var id int
	a.peekState(func(s *stateFile) { id = s.UIDs[site] })
	if id == 0 {
		var err error
		// Durable before the first file is owned by it: an id handed out twice
		// would open one site's files to another.
		serr := a.state(func(s *stateFile) {
			if id, err = freeID(site, a.o.Dir, a.sites.ids, s.UIDs); err == nil {
				s.UIDs[site] = id
			}
		})
		if err := errors.Join(err, serr); err != nil {
			return account{}, err
		}
	}
	return account{UID: id, GID: id, Name: "portico-" + site}, nil
}

// usualDir is the state directory of the one agent that a machine has as a rule.
const usualDir = "/var/lib/portico"

// freeID picks an id for site that no other site has: by the name's hash, so
// that a site tends to get the same id on every machine. Agents of one machine have
// each their own directory, and take different ids: when the last process of a site ends, whatever
// else its user runs is killed.
func freeID(site, dir string, r IDRange, taken map[string]int) (int, error) {
	used := make(map[int]bool, len(taken))
	for _, id := range taken {
		used[id] = true
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(site))
	if dir != usualDir {
		_, _ = h.Write([]byte(dir))
	}
	start := int(h.Sum32() % uint32(r.Count))
	for i := range r.Count {
		if id := r.First + (start+i)%r.Count; !used[id] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("no user id left for site %q: all %d from %d on are taken", site, r.Count, r.First)
}
