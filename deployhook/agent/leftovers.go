package agent

import (
	"os"
	"slices"
	"sync"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
)

// siteUsersAlive counts the processes that this agent means to run as each user
// id of a site's own, and kills all of that user when the last one has ended.
type siteUsersAlive struct {
	kill func(uid int)

	mu    sync.Mutex
	users map[int]*userAlive
}

type userAlive struct {
	mu sync.Mutex // held while the user's processes are killed: nothing starts meanwhile
	n  int
}

// begin counts a process of acc; the function that it returns is called once,
// when that has ended. Accounts that others use, too, are not counted.
func (s *siteUsersAlive) begin(acc account.Account) (end func()) {
	if acc.Shared || acc.UID == 0 {
		return func() {}
	}
	u := s.user(acc.UID)
	u.mu.Lock()
	u.n++
	u.mu.Unlock()
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.n--; u.n == 0 {
			s.kill(acc.UID)
		}
	})
}

func (s *siteUsersAlive) user(uid int) *userAlive {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = make(map[int]*userAlive)
	}
	if s.users[uid] == nil {
		s.users[uid] = new(userAlive)
	}
	return s.users[uid]
}

// sweepUsers kills what runs as the users of sites that have no process here.
func (a *Agent) sweepUsers() {
	if !a.root {
		return
	}
	var uids []int
	a.state.Peek(func(s *state.File) {
		for _, uid := range s.UIDs {
			uids = append(uids, uid)
		}
	})
	for _, uid := range uids {
		u := a.users.user(uid)
		u.mu.Lock()
		if u.n == 0 {
			a.killUser(uid)
		}
		u.mu.Unlock()
	}
}

// killUser kills every process of a site's user. A process of a third user that
// may signal only that one does it in one call, which no fork escapes, and which
// needs no look at /proc.
func (a *Agent) killUser(uid int) {
	for try := range 3 {
		if !process.UserRuns(uid) {
			return
		}
		if try == 0 {
			a.log.Warn("processes that a site left behind are killed", "user", a.who(uid))
		}
		if err := process.Reap(a.shim, uid, a.spareID()); err != nil {
			a.log.Error("processes that a site left behind are not killed", "user", a.who(uid), "error", err)
			return
		}
	}
}

// spareID returns an id of the sites' range that no site has.
func (a *Agent) spareID() int {
	var used []int
	a.state.Peek(func(s *state.File) {
		for _, uid := range s.UIDs {
			used = append(used, uid)
		}
	})
	last := a.sites.IDs.First + a.sites.IDs.Count - 1
	for id := last; id > a.sites.IDs.First; id-- {
		if !slices.Contains(used, id) {
			return id
		}
	}
	return last
}

// clearOwnPort ends the processes of a site that holds the agent's own port,
// which it can have taken while no agent ran. It reports whether it did.
func (a *Agent) clearOwnPort(port int) bool {
	h, ok := listensAt(port)
	if !ok || !a.root || !a.sites.OwnID(h.UID) || h.UID == os.Geteuid() {
		return false
	}
	a.log.Error("a site holds the port of the agent itself: its processes are killed", "holder", a.holder(h), "port", port)
	a.killUser(h.UID)
	return true
}
