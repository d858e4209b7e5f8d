package balancer

import (
	"strconv"
	"time"

	"portico/balancer/seal"
	"portico/conf/sites"
)

// Totals are the counters of an upstream, or the sum of those of a pool.
type Totals struct {
	Total, Picked                   uint64 // requests sent there; of these, placed by the policy
	BytesIn, BytesOut               uint64 // of the client's side
	Status1xx, Status2xx, Status3xx uint64
	Status4xx, Status5xx            uint64
	StatusOther                     uint64
	ConnectErrors, ResponseErrors   uint64 // HAProxy's econ, eresp
	Retries, Redispatches           uint64 // requests tried again after failing here; of these, on another upstream
	ClientAborts, ServerAborts      uint64
	TimeOuts                        uint64
	Connects, Reuses                uint64            // connections made, requests on idle ones
	Lost                            map[string]uint64 // sessions that left here, by cause
	LastUsed                        int64             // Unix milliseconds, to the second; 0: never
	QueueTime, ConnectTime          HistogramSnapshot
	ResponseTime, TotalTime         HistogramSnapshot
}

// UpstreamSnapshot is an upstream at one moment: what the page, the CSV, the
// JSON and the metrics show.
type UpstreamSnapshot struct {
	ID, Name, Member, Addr, Release, Zone string
	Token                                 string // what a server line of HAProxy calls cookie
	Retiring, Backup, Static, Unpinned    bool
	Admin                                 AdminState
	AdminReason                           string
	State                                 HealthState

	Status      string // in HAProxy's words: UP, "UP 1/3", DOWN, "DOWN 1/2", "NOLB 2/3", DRAIN, MAINT, "no check"
	Reason      string // of the health state
	InRotation  bool
	LastChange  time.Duration // since the state changed, either of them
	DownTime    time.Duration
	ChecksFail  uint64 // failed checks while up
	Downs       uint64 // moves from up to down
	CheckCode   string // HAProxy's word; INI before the first check
	CheckStatus int
	CheckTime   time.Duration
	CheckDetail string
	CheckAge    time.Duration // since the last check; 0 before the first
	AgentDetail string
	AgentOK     bool
	AgentAge    time.Duration // since the agent's last word; 0: it never spoke
	Rise, Fall  int
	Level       int // HAProxy's check_health

	Weight, WeightConfigured int     // effective, as configured
	SlowStart                int     // percent of the weight, 0 outside a slow start
	Queued, QueuedMax        int     // requests that wait for this upstream
	InFlight, InFlightMax    int     // requests
	MaxConns, MaxSessions    int     // limits; 0: none
	Sessions                 int     // live, idle ones too
	Recounting               bool    // there may be more that this proxy has not seen again
	Rate, RateMax            float64 // requests a second
	Totals
}

// PoolSnapshot is a pool at one moment.
type PoolSnapshot struct {
	Name, Zone string
	Policy     sites.Policy
	Upstreams  []UpstreamSnapshot
	Status     string // UP or DOWN: whether new visitors find an upstream
	LastChange time.Duration
	DownTime   time.Duration
	Downs      uint64

	Active, Backup int     // usable upstreams of each kind
	Weight         int     // effective, of all usable ones
	InFlight       int     // requests
	Sessions       int     // live, idle ones too, as far as the table knows
	Recounting     bool    // the table is younger than the idle time: there may be more
	Queued         int     // requests that wait and belong to no upstream
	QueuedMax      int     // peak of Queued
	Waiting        int     // visitors in the waiting room
	Rate, RateMax  float64 // requests a second
	Arrived        uint64  // requests that came, without second attempts
	NewSessions    uint64
	NewSessionRate float64
	NewSessionMax  float64
	FailOpen       uint64 // requests to an upstream not known to be up
	Bursts         uint64 // requests that joined another's first visit
	Shifted        uint64 // sessions that changed the instance at a safe moment
	SecondAttempts uint64
	RetriesRefused uint64
	QueueFull      uint64
	QueueTimeouts  uint64
	Refused        map[string]uint64 // cookies not honoured, by cause
	Lost           map[string]uint64 // sessions, by cause
	Nothing        map[string]uint64 // requests that found no upstream, by reason

	// Sum has the counters of all upstreams, also of those that have left, and
	// nothing else.
	Sum UpstreamSnapshot
}

// Snapshot returns the upstream as it is at now (Unix milliseconds).
func (u *Upstream) Snapshot(now int64) UpstreamSnapshot {
	c := u.pool.Config()
	sp := u.spec.Load()
	u.mu.Lock()
	h, adminAt, why := u.health, u.adminAt, u.why
	u.mu.Unlock()
	s := UpstreamSnapshot{
		ID: u.id, Name: sp.Name, Member: sp.Member, Addr: sp.Addr, Release: sp.Release, Zone: sp.Zone,
		Token: u.Token().String(), Retiring: sp.Retiring, Backup: sp.Backup, Static: sp.Static, Unpinned: sp.Unpinned,
		Admin: u.Admin(), AdminReason: why, State: h.State,
		Status: h.text(c.Health, u.Admin(), sp.Retiring), Reason: h.Reason, InRotation: u.InRotation(),
		LastChange: since(max(h.Since, adminAt), now), DownTime: h.DownTime(now), ChecksFail: h.Failed, Downs: h.Downs,
		CheckCode: h.Last.Code, CheckStatus: h.Last.Status, CheckTime: h.Last.Latency, CheckDetail: h.Last.Detail,
		CheckAge: since(h.LastAt, now), AgentDetail: h.LastAgent.Detail, AgentOK: h.LastAgent.OK, AgentAge: since(h.LastAgentAt, now),
		Rise: c.Health.Rise, Fall: c.Health.Fall, Level: h.Level,
		WeightConfigured: sp.Weight,
		Queued:           int(u.Queued.Load()), QueuedMax: int(u.QueuedMax.Load()),
		InFlight: u.InFlight(), InFlightMax: int(u.Max.Load()),
		MaxConns: sp.MaxConns, MaxSessions: sp.MaxSessions, Sessions: u.Sessions(), Recounting: u.recounting(now),
		Rate: u.Rate.PerSecond(now), RateMax: float64(u.Rate.Max()),
		Totals: u.Counters.totals(),
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

func (c *Counters) totals() Totals {
	t := Totals{
		Total: c.Rate.Total(), Picked: c.Picked.Load(), BytesIn: c.BytesIn.Load(), BytesOut: c.BytesOut.Load(),
		StatusOther: c.Status[0].Load(), Status1xx: c.Status[1].Load(), Status2xx: c.Status[2].Load(),
		Status3xx: c.Status[3].Load(), Status4xx: c.Status[4].Load(), Status5xx: c.Status[5].Load(),
		ConnectErrors: c.ConnectErrors.Load(), ResponseErrors: c.ResponseFails.Load(), Retries: c.Retries.Load(), Redispatches: c.Redispatches.Load(),
		ClientAborts: c.ClientAborts.Load(), ServerAborts: c.ServerAborts.Load(), TimeOuts: c.TimeOuts.Load(),
		Connects: c.Connects.Load(), Reuses: c.Reuses.Load(), LastUsed: c.LastUsed.Load(),
		Lost:      make(map[string]uint64, causes),
		QueueTime: c.QueueTime.Snapshot(), ConnectTime: c.ConnectTime.Snapshot(),
		ResponseTime: c.ResponseTime.Snapshot(), TotalTime: c.TotalTime.Snapshot(),
	}
	for _, cause := range Causes() {
		t.Lost[cause.String()] = c.Lost[cause].Load()
	}
	return t
}

// Snapshot returns the pool as it is at now (Unix milliseconds).
func (p *Pool) Snapshot(now int64) PoolSnapshot {
	t := p.now.Load()
	s := PoolSnapshot{
		Name: p.name, Policy: t.config.Policy, Zone: t.config.Zone, Status: "DOWN",
		Waiting: p.room.Waiting(), Arrived: p.Requests.Load(),
		NewSessions: p.NewSessions.Total(), NewSessionRate: p.NewSessions.PerSecond(now), NewSessionMax: float64(p.NewSessions.Max()),
		FailOpen: p.FailOpen.Load(), Bursts: p.Bursts.Load(), Shifted: p.Shifted.Load(),
		SecondAttempts: p.Retries.Load(), RetriesRefused: p.RetriesRefused.Load(),
		QueueFull: p.QueueFull.Load(), QueueTimeouts: p.QueueTimeouts.Load(),
		Refused: make(map[string]uint64, seal.RefusalCount), Lost: make(map[string]uint64, causes), Nothing: make(map[string]uint64, nones),
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
func (p *Pool) sum(s *PoolSnapshot, t *table, now int64) {
	var all Counters
	p.mu.Lock()
	state := p.state
	all.merge(&p.former)
	p.mu.Unlock()
	for _, u := range t.all {
		us := u.Snapshot(now)
		s.Upstreams = append(s.Upstreams, us)
		s.Sessions += us.Sessions
		s.Recounting = s.Recounting || us.Recounting
		s.InFlight += us.InFlight
		s.Rate += us.Rate
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
	s.RateMax = float64(p.rate.Max())
	s.Sum = UpstreamSnapshot{Name: "BACKEND", Totals: all.totals(), InFlight: s.InFlight, InFlightMax: int(p.inflightMax.Load()), Rate: s.Rate, RateMax: s.RateMax}
	s.LastChange, s.Downs = since(state.since, now), state.downs
	down := state.down
	if !state.up {
		down += max(now-state.since, 0)
	}
	s.DownTime = time.Duration(down) * time.Millisecond
}
