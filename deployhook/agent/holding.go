package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"sync"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/cgroup"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
)

// A site's process may start others, leave its process group, clear its
// environment and hide. Two things find them all the same: the control group
// that an instance runs in, and the user id that no other site has.

// openGroups finds out what holds sites' processes here and says what does not.
func (a *Agent) openGroups() {
	sum := sha256.Sum256([]byte(a.o.Dir)) // two agents of one machine
	t, err := cgroup.Open("portico-" + hex.EncodeToString(sum[:4]))
	switch {
	case err != nil && a.root:
		a.log.Warn("sites' processes have no control groups: limits.memory holds for each process alone and limits.cpu not at all, and what a site leaves behind ends with its last instance", "error", err)
	case err != nil:
		a.log.Info("sites' processes have no control groups: limits.memory holds for each process alone and limits.cpu not at all, and what a site leaves behind may go on", "error", err)
	default:
		if missing := t.Missing(); len(missing) > 0 {
			a.log.Info("control groups hold processes together, but not all limits: let systemd delegate these controllers (Delegate=yes and DelegateSubgroup=agent, systemd 254)", "missing", strings.Join(missing, " "))
		}
		a.groups = t
	}
}

// hold prepares what keeps a site's process: the control group id with limits,
// where there are groups.
func (a *Agent) hold(s *process.Spec, id string, l sites.Limits) {
	s.After = a.users.begin(s.Account)
	if a.groups == nil {
		return
	}
	g, err := a.groups.Make(id, cgroup.Limits{Memory: l.Memory.Bytes(), Processes: s.Limits.Processes, CPU: l.CPU})
	if err != nil {
		a.log.Warn("an instance has no control group", "instance", id, "error", err)
		return
	}
	s.Group, s.Refused = &g, a.groupsRefused
}

// groupsRefused says once that sites' processes run outside their groups.
func (a *Agent) groupsRefused(err error) {
	a.refused.Do(func() {
		a.log.Warn("the system refuses to start processes in control groups, so sites run without: limits.memory holds for each process alone and limits.cpu not at all; let the container allow the system call clone3", "error", err)
	})
}

// holdAdopted is hold for a process that an earlier agent started.
func (a *Agent) holdAdopted(p *process.Process, acc account.Account) {
	p.After = a.users.begin(acc)
	if a.groups != nil {
		g := a.groups.Group(p.ID)
		p.Group = &g
	}
}

// closeGroups removes the folder of groups if no instance is left in it.
func (a *Agent) closeGroups() {
	if a.groups != nil {
		_ = a.groups.Remove()
	}
}

// sweepGroups ends the groups of instances that nobody knows.
func (a *Agent) sweepGroups(known map[string]bool) {
	if a.groups == nil {
		return
	}
	names, err := a.groups.Groups()
	if err != nil {
		a.log.Warn("control groups not read", "error", err)
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), process.SweepTime)
		if err := a.groups.Group(name).End(ctx); err != nil {
			a.log.Warn("what an unknown instance left is not gone", "instance", name, "error", err)
		}
		cancel()
	}
}

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
