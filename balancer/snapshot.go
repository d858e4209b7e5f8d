package balancer

import (
	"strconv"
	"time"
)

// UpstreamSnapshot is an upstream at one moment: what the page, the CSV, the
// JSON and the metrics show.
type UpstreamSnapshot struct {
	ID, Name, Member, Addr, Release, Zone string
	Token                                 string
	Admin                                 AdminState
	AdminReason                           string
	State                                 HealthState
	Retiring, Backup, Static, Unpinned    bool

	Status      string // in HAProxy's words: UP, "UP 1/3", DOWN, "DOWN 1/2", "NOLB 2/3", DRAIN, MAINT, "no check"
	Reason      string
	InRotation  bool
	LastChange  time.Duration // since the state changed
	DownTime    time.Duration
	ChecksFail  uint64 // failed checks while up
	Downs       uint64
	CheckCode   string // "" before the first check
	CheckStatus int
	CheckTime   time.Duration
	CheckDetail string
	CheckAge    time.Duration // since the last check
	AgentDetail string
	AgentOK     bool
	AgentAge    time.Duration // since the agent's last word; 0 with an empty detail: never
	Rise, Fall  int
	Level       int

	Weight, WeightConfigured int // effective, as configured
	SlowStart                int // percent of the weight, 0 outside a slow start

	Queued, QueuedMax       int
	InFlight, InFlightMax   int
	MaxConns, MaxSessions   int
	Sessions                int   // live, idle ones too
	Returned                int   // of these, seen more than once
	LastUsed                int64 // Unix milliseconds; 0: never
	Total, Picked           uint64
	BytesIn, BytesOut       uint64
	ConnectErrors           uint64
	ResponseErrors          uint64
	Retries, Redispatches   uint64
	ClientAborts            uint64
	ServerAborts            uint64
	TimeOuts                uint64
	Connects, Reuses        uint64
	Status1xx, Status2xx    uint64
	Status3xx, Status4xx    uint64
	Status5xx, StatusOther  uint64
	Lost                    map[string]uint64 // sessions lost from here by cause
	Rate, RateMax           float64           // requests a second
	QueueTime, ConnectTime  HistogramSnapshot
	ResponseTime, TotalTime HistogramSnapshot
}

// PoolSnapshot is a pool at one moment. The sums are over its upstreams and
// those that have left it.
type PoolSnapshot struct {
	Name, Policy    string
	Upstreams       []UpstreamSnapshot
	Status          string // UP or DOWN
	LastChange      time.Duration
	DownTime        time.Duration
	Downs           uint64
	Active, Backup  int // usable upstreams of each kind
	Weight          int // effective, of all usable ones
	Sessions        int
	Waiting         int // visitors in the waiting room
	Queued          int // requests that wait and belong to no upstream yet
	QueuedMax       int
	Sum             UpstreamSnapshot  // counters only
	Refused         map[string]uint64 // cookies not honoured, by cause
	Lost            map[string]uint64 // sessions lost, by cause
	Nothing         map[string]uint64 // requests without an upstream, by reason
	Recounting      bool              // the table of sessions is younger than the idle time: counts are too low
	NewSessions     uint64
	NewSessionRate  float64
	RetriesRefused  uint64 // by the retry budget
	FailOpen        uint64
	BurstsCollected uint64 // requests that joined another's first visit
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
		Token: u.Token().String(), Admin: u.Admin(), AdminReason: why, State: h.State,
		Retiring: sp.Retiring, Backup: sp.Backup, Static: sp.Static, Unpinned: sp.Unpinned,
		Reason: h.Reason, InRotation: u.InRotation(),
		LastChange: since(max(h.Since, adminAt), now), DownTime: h.DownTime(now),
		ChecksFail: h.Failed, Downs: h.Downs,
		CheckCode: h.Last.Code, CheckStatus: h.Last.Status, CheckTime: h.Last.Latency, CheckDetail: h.Last.Detail,
		CheckAge: since(h.LastAt, now), AgentDetail: h.LastAgent.Detail, AgentOK: h.LastAgent.OK, AgentAge: since(h.LastAgentAt, now),
		Rise: c.Health.Rise, Fall: c.Health.Fall, Level: h.Level,
		Weight: int(u.weight.Load() / 100), WeightConfigured: sp.Weight,
		MaxConns: sp.MaxConns, MaxSessions: sp.MaxSessions,
		InFlight: u.InFlight(), Sessions: u.Sessions(),
	}
	s.Status = h.text(c.Health, s.Admin, sp.Retiring)
	u.Counters.snapshot(&s, now)
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
	rising := func(word string) string {
		if h.Level > 0 && h.Level < r.Rise {
			return word + " " + strconv.Itoa(h.Level) + "/" + strconv.Itoa(r.Rise)
		}
		return word
	}
	falling := func(word string) string {
		if left := h.Level - r.Rise + 1; left < r.Fall {
			return word + " " + strconv.Itoa(left) + "/" + strconv.Itoa(r.Fall)
		}
		return word
	}
	switch {
	case h.State == Down && h.Cause == CauseExited:
		return "DOWN (agent)"
	case h.State == Down, h.State == Unverified:
		return rising("DOWN")
	case a == AdminDrain || retiring:
		return falling("DRAIN")
	case r.Off && h.State == Up:
		return "no check"
	case h.State == Suspect:
		return falling("NOLB")
	}
	return falling("UP")
}

func (c *Counters) snapshot(s *UpstreamSnapshot, now int64) {
	s.Queued, s.QueuedMax = int(c.Queued.Load()), int(c.QueuedMax.Load())
	s.InFlightMax = int(c.Max.Load())
	s.LastUsed = c.LastUsed.Load()
	s.Total, s.Picked = c.Rate.Total(), c.Picked.Load()
	s.BytesIn, s.BytesOut = c.BytesIn.Load(), c.BytesOut.Load()
	s.ConnectErrors, s.ResponseErrors = c.ConnectErrors.Load(), c.ResponseFails.Load()
	s.Retries = c.Retries.Load()
	s.ClientAborts, s.ServerAborts, s.TimeOuts = c.ClientAborts.Load(), c.ServerAborts.Load(), c.TimeOuts.Load()
	s.Connects, s.Reuses = c.Connects.Load(), c.Reuses.Load()
	s.StatusOther = c.Status[0].Load()
	s.Status1xx, s.Status2xx, s.Status3xx = c.Status[1].Load(), c.Status[2].Load(), c.Status[3].Load()
	s.Status4xx, s.Status5xx = c.Status[4].Load(), c.Status[5].Load()
	s.Lost = map[string]uint64{}
	for _, cause := range Causes() {
		s.Lost[cause.String()] = c.Lost[cause].Load()
	}
	s.Rate, s.RateMax = c.Rate.PerSecond(now), float64(c.Rate.Max())
	s.QueueTime, s.ConnectTime = c.QueueTime.Snapshot(), c.ConnectTime.Snapshot()
	s.ResponseTime, s.TotalTime = c.ResponseTime.Snapshot(), c.TotalTime.Snapshot()
}

// Snapshot returns the pool as it is at now (Unix milliseconds).
func (p *Pool) Snapshot(now int64) PoolSnapshot {
	t := p.now.Load()
	s := PoolSnapshot{Name: p.name, Policy: t.config.Policy, Status: "DOWN", Refused: map[string]uint64{}, Lost: map[string]uint64{}, Nothing: map[string]uint64{}}
	for _, u := range t.all {
		us := u.Snapshot(now)
		s.Sessions += us.Sessions
		if us.InRotation {
			s.Status = "UP"
			s.Weight += us.Weight
			if us.Backup {
				s.Backup++
			} else {
				s.Active++
			}
		}
		s.Upstreams = append(s.Upstreams, us)
	}
	for _, r := range Refusals() {
		s.Refused[r.String()] = p.Refused[r].Load()
	}
	for _, c := range Causes() {
		s.Lost[c.String()] = p.Lost[c].Load()
	}
	for n := NoneEmpty; n < nones; n++ {
		s.Nothing[n.String()] = p.Nothing[n].Load()
	}
	return s
}
