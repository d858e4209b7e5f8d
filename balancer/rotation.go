package balancer

import (
	"sync/atomic"
	"time"

	"portico/balancer/policy"
)

// What a policy chooses among, and what it is asked.
type (
	group = policy.Group[*Upstream]
	query = policy.Query[*Upstream]
)

// The tiers in which upstreams take new visitors. The first that is not empty
// takes all. From tierMaybe on an upstream is not known to be up.
const (
	tierNear = iota
	tierFar
	tierNearBackup
	tierFarBackup
	tierMaybe // suspect or never checked
	tierDown
	tiers
)

// place works out who takes new visitors: primaries in the proxy's zone, else
// other primaries, else backups, else (open) whoever might still answer.
func (t *table) place(p *Pool, now int64) {
	var by [tiers][]*Upstream
	t.ramping = false
	for _, u := range t.all {
		if tier := u.tier(t.config.Zone); tier < tiers {
			by[tier] = append(by[tier], u)
		}
		if u.ramps(t.config.SlowStart, now) {
			t.ramping = true
		}
	}
	best := func(from, to int) *group {
		for _, up := range by[from:to] {
			if len(up) > 0 {
				return t.group(up, &p.turn, now)
			}
		}
		return &group{}
	}
	t.ready, t.open = best(tierNear, tierMaybe), best(tierMaybe, tiers)
}

// group returns some upstreams as the policy chooses among them.
func (t *table) group(up []*Upstream, turn *atomic.Uint64, now int64) *group {
	list := make([]policy.Candidate[*Upstream], len(up))
	for i, u := range up {
		list[i] = policy.Candidate[*Upstream]{Up: u, Load: &u.load, Weight: max(u.effective(t.config.SlowStart, now), 1), Hash: u.idHash}
	}
	return policy.NewGroup(list, t.policy, t.config.HashBound, turn)
}

// tier returns where u stands for new visitors; tiers: nowhere.
func (u *Upstream) tier(zone string) int {
	s := u.spec.Load()
	if s.Retiring || u.Admin() != AdminReady || u.exited() {
		return tiers
	}
	switch u.State() {
	case Suspect, Unverified:
		return tierMaybe
	case Down:
		return tierDown
	}
	tier := tierNear
	if s.Backup {
		tier = tierNearBackup
	}
	if zone != "" && s.Zone != zone {
		tier++
	}
	return tier
}

// effective returns the weight in hundredths: after coming up it grows with time
// from a tenth of the configured weight to all of it.
func (u *Upstream) effective(ramp time.Duration, now int64) uint32 {
	full := uint32(u.spec.Load().Weight) * 100
	u.mu.Lock()
	since, state := u.health.Since, u.health.State
	u.mu.Unlock()
	if state != Up || ramp <= 0 {
		return full
	}
	passed := max(now-since, 0)
	if passed >= ramp.Milliseconds() {
		return full
	}
	return full/10 + uint32(uint64(full-full/10)*uint64(passed)/uint64(ramp.Milliseconds()))
}

// ramps reports whether the weight of u still grows.
func (u *Upstream) ramps(ramp time.Duration, now int64) bool {
	if ramp <= 0 || u.State() != Up {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return now-u.health.Since < ramp.Milliseconds()
}

// InRotation reports whether new visitors can be sent there.
func (u *Upstream) InRotation() bool {
	return u.Admin() == AdminReady && u.State() == Up && !u.spec.Load().Retiring && !u.gone.Load()
}
