package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/cgroup"
	"portico/deployhook/agent/process"
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

// contain prepares what keeps a site's process: the control group id with limits,
// where there are groups.
func (a *Agent) contain(s *process.Spec, id string, l sites.Limits) {
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

// containAdopted is contain for a process that an earlier agent started.
func (a *Agent) containAdopted(p *process.Process, acc account.Account) {
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
