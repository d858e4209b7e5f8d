package balancer

import (
	"strconv"
	"time"

	"portico/balancer/figures"
	"portico/balancer/meter"
	"portico/balancer/seal"
)

// Snapshot returns the upstream as it is at now (Unix milliseconds).
func (u *Upstream) Snapshot(now int64) figures.Upstream {
	c := u.pool.Config()
	sp := u.spec.Load()
	u.mu.Lock()
	h, adminAt, why := u.health, u.adminAt, u.why
	u.mu.Unlock()
	s := figures.Upstream{
		ID: u.id, Name: sp.Name, Member: sp.Member, Addr: sp.Addr, Release: sp.Release, Zone: sp.Zone,
		Token: u.Token().String(), Retiring: sp.Retiring, Backup: sp.Backup, Static: sp.Static, Unpinned: sp.Unpinned,
		Admin: u.Admin().String(), AdminReason: why, State: h.State.String(),
		Status: h.text(c.Health, u.Admin(), sp.Retiring), Reason: h.Reason, InRotation: u.InRotation(),
		LastChange: figures.Millis(since(max(h.Since, adminAt), now)), DownTime: figures.Millis(h.DownTime(now)), ChecksFail: h.Failed, Downs: h.Downs,
		CheckCode: h.Last.Code, CheckStatus: h.Last.Status, CheckTime: figures.Millis(h.Last.Latency), CheckDetail: h.Last.Detail,
		CheckAge: since(h.LastAt, now), AgentDetail: h.LastAgent.Detail, AgentOK: h.LastAgent.OK, AgentAge: since(h.LastAgentAt, now),
		Rise: c.Health.Rise, Fall: c.Health.Fall, Level: h.Level,
		WeightConfigured: sp.Weight,
		Queued:           int(u.Queued.Load()), QueuedMax: int(u.QueuedMax.Load()),
		InFlight: u.InFlight(), InFlightMax: int(u.Max.Load()),
		MaxConns: sp.MaxConns, MaxSessions: sp.MaxSessions, Sessions: u.Sessions(), Recounting: u.recounting(now),
		Traffic: u.Counters.traffic(u.Rate.PerSecond(now), u.Rate.Max()), Totals: u.Counters.totals(),
	}
	if h.LastAt == 0 && !c.Health.Off {
		s.CheckCode = "INI"
	}
	weight := u.effective(c.SlowStart, now)
	s.Weight = int(weight+50) / 100
	if full := uint32(sp.Weight) * 100; weight < full {
		s.SlowStart = int(weight * 100 / full)
	}
	if !s.InRotation {
		s.Weight = 0
	}
	return s
}

func since(at, now int64) time.Duration {
	if at == 0 {
		return 0
	}
	return time.Duration(max(now-at, 0)) * time.Millisecond
}

// text writes the state as HAProxy does.
func (h *Health) text(r HealthRules, a AdminState, retiring bool) string {
	if a == AdminMaint {
		return "MAINT"
	}
	switch h.State {
	case Down, Unverified:
		switch {
		case h.Cause == CauseExited:
			return "DOWN (agent)"
		case h.Level > 0:
			return step("DOWN", h.Level, r.Rise)
		}
		return "DOWN"
	}
	word := "UP"
	switch {
	case a == AdminDrain || retiring:
		word = "DRAIN"
	case h.State == Suspect:
		word = "NOLB"
	case r.Off:
		return "no check"
	}
	if left := h.Level - r.Rise + 1; left < r.Fall {
		return step(word, left, r.Fall)
	}
	return word
}

func step(word string, at, of int) string {
	return word + " " + strconv.Itoa(at) + "/" + strconv.Itoa(of)
}

func (c *Counters) traffic(rate float64, most uint32) figures.Traffic {
	return figures.Traffic{Total: c.Rate.Total(), Rate: rate, RateMax: float64(most), BytesIn: c.BytesIn.Load(), BytesOut: c.BytesOut.Load()}
}

func (c *Counters) totals() figures.Totals {
	t := figures.Totals{
		Picked: c.Picked.Load(),
		Responses: figures.Responses{
			StatusOther: c.Status[0].Load(), Status1xx: c.Status[1].Load(), Status2xx: c.Status[2].Load(),
			Status3xx: c.Status[3].Load(), Status4xx: c.Status[4].Load(), Status5xx: c.Status[5].Load(),
		},
		ConnectErrors: c.ConnectErrors.Load(), ResponseErrors: c.ResponseFails.Load(), Retries: c.Retries.Load(), Redispatches: c.Redispatches.Load(),
		ClientAborts: c.ClientAborts.Load(), ServerAborts: c.ServerAborts.Load(), TimeOuts: c.TimeOuts.Load(),
		Connects: c.Connects.Load(), Reuses: c.Reuses.Load(),
		Lost:  make(figures.Causes, causes),
		Times: times(&c.TotalTime), QueueTime: times(&c.QueueTime), ConnectTime: times(&c.ConnectTime), ResponseTime: times(&c.ResponseTime),
	}
	if at := c.LastUsed.Load(); at > 0 {
		t.LastUsed = time.UnixMilli(at).UTC()
	}
	for _, cause := range Causes() {
		t.Lost[cause.String()] = c.Lost[cause].Load()
	}
	return t
}

// times returns the figures of a histogram.
func times(h *meter.Histogram) figures.Times {
	s := h.Snapshot()
	return figures.Times{
		Mean: s.Mean(), P50: figures.Millis(s.Quantile(0.5)), P99: figures.Millis(s.Quantile(0.99)), Max: figures.Millis(s.Max),
	}
}

// Snapshot returns the pool as it is at now (Unix milliseconds).
func (p *Pool) Snapshot(now int64) figures.Pool {
	t := p.now.Load()
	s := figures.Pool{
		Name: p.name, Policy: t.config.Policy, Zone: t.config.Zone, Status: "DOWN",
		Waiting: p.room.Waiting(), Arrived: p.Requests.Load(),
		NewSessions: p.NewSessions.Total(), NewSessionRate: p.NewSessions.PerSecond(now), NewSessionMax: float64(p.NewSessions.Max()),
		FailOpen: p.FailOpen.Load(), Bursts: p.Bursts.Load(), Shifted: p.Shifted.Load(),
		SecondAttempts: p.Retries.Load(), RetriesRefused: p.RetriesRefused.Load(),
		QueueFull: p.QueueFull.Load(), QueueTimeouts: p.QueueTimeouts.Load(),
		Refused: make(figures.Causes, seal.RefusalCount), Lost: make(figures.Causes, causes), Nothing: make(figures.Causes, nones),
		Upstreams: make([]figures.Upstream, 0, len(t.all)),
	}
	for _, r := range seal.Refusals() {
		s.Refused[r.String()] = p.Refused[r].Load()
	}
	for _, c := range Causes() {
		s.Lost[c.String()] = p.Lost[c].Load()
	}
	for n := NoneEmpty; n < nones; n++ {
		s.Nothing[n.String()] = p.Nothing[n].Load()
	}
	p.queue.mu.Lock()
	s.Queued, s.QueuedMax = p.queue.anyone.n, p.queue.most
	p.queue.mu.Unlock()
	p.sum(&s, t, now)
	return s
}

// sum adds up the upstreams, those of the past included.
func (p *Pool) sum(s *figures.Pool, t *table, now int64) {
	var all Counters
	p.mu.Lock()
	state := p.state
	all.merge(&p.former)
	p.mu.Unlock()
	rate := 0.0
	for _, u := range t.all {
		us := u.Snapshot(now)
		s.Upstreams = append(s.Upstreams, us)
		s.Sessions += us.Sessions
		s.Recounting = s.Recounting || us.Recounting
		s.InFlight += us.InFlight
		rate += us.Rate
		all.merge(&u.Counters)
		if !us.InRotation {
			continue
		}
		s.Status = "UP"
		s.Weight += us.Weight
		if us.Backup {
			s.Backup++
		} else {
			s.Active++
		}
	}
	s.Traffic, s.Sum = all.traffic(rate, p.rate.Max()), all.totals()
	s.LastChange, s.Downs = figures.Millis(since(state.since, now)), state.downs
	down := state.down
	if !state.up {
		down += max(now-state.since, 0)
	}
	s.DownTime = time.Duration(down) * time.Millisecond
}
