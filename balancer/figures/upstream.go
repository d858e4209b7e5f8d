package figures

import "time"

// What an operator wants of an upstream: Upstream.Admin.
const (
	Ready = "ready"
	Drain = "drain"
	Maint = "maint"
)

// What the checks say of an upstream: Upstream.State.
const (
	Up         = "up"
	Suspect    = "suspect"
	Down       = "down"
	Unverified = "unverified"
)

// Upstream is an instance at one moment, as one proxy sees it.
type Upstream struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Member  string `json:"member,omitempty"`
	Addr    string `json:"addr"`
	Release string `json:"release,omitempty"`
	Zone    string `json:"-"`
	Token   string `json:"-"` // what a server line of HAProxy calls cookie

	Admin       string `json:"admin"` // Ready, Drain or Maint
	AdminReason string `json:"-"`
	State       string `json:"state"`  // Up, Suspect, Down or Unverified
	Status      string `json:"status"` // in HAProxy's words: UP, "UP 1/3", DOWN, "DOWN 1/2", "NOLB 2/3", DRAIN, MAINT, "no check"
	Reason      string `json:"reason,omitempty"`
	InRotation  bool   `json:"in_rotation"`
	Retiring    bool   `json:"retiring,omitempty"`
	Backup      bool   `json:"backup,omitempty"`
	Static      bool   `json:"-"` // of the configuration file
	Unpinned    bool   `json:"-"` // any other upstream continues its sessions

	LastChange  Millis        `json:"last_change_ms"` // since Admin or State changed
	DownTime    Millis        `json:"down_time_ms"`
	CheckCode   string        `json:"check_code,omitempty"` // HAProxy's word; INI before the first check
	CheckStatus int           `json:"check_status,omitempty"`
	CheckTime   Millis        `json:"check_ms,omitempty"` // that the last check took
	CheckDetail string        `json:"check_detail,omitempty"`
	CheckAge    time.Duration `json:"-"`             // since the last check; 0 before the first
	ChecksFail  uint64        `json:"checks_failed"` // while up
	Downs       uint64        `json:"downs"`         // moves from up to down
	AgentDetail string        `json:"-"`
	AgentOK     bool          `json:"-"`
	AgentAge    time.Duration `json:"-"` // since the agent's last word; 0: it never spoke
	Rise        int           `json:"-"`
	Fall        int           `json:"-"`
	Level       int           `json:"-"` // HAProxy's check_health

	Weight           int  `json:"weight"` // effective
	WeightConfigured int  `json:"weight_set"`
	SlowStart        int  `json:"-"`                    // percent of the weight, 0 outside a slow start
	Sessions         int  `json:"sessions"`             // live, idle ones too
	Recounting       bool `json:"recounting,omitempty"` // there may be more that this proxy has not seen again
	MaxSessions      int  `json:"sessions_limit"`       // 0: none
	InFlight         int  `json:"in_flight"`            // requests
	InFlightMax      int  `json:"in_flight_max"`
	MaxConns         int  `json:"max_conns"` // 0: none
	Queued           int  `json:"queued"`    // requests that wait for this upstream
	QueuedMax        int  `json:"queued_max"`
	Traffic
	Totals
}

// Traffic is how much went to an upstream, or to all of a pool.
type Traffic struct {
	Total    uint64  `json:"total"` // requests
	Rate     float64 `json:"rate"`  // requests a second
	RateMax  float64 `json:"rate_max"`
	BytesIn  uint64  `json:"bytes_in"` // of the client's side
	BytesOut uint64  `json:"bytes_out"`
}

// Totals are the other counters of an upstream, or the sum of those of a pool.
type Totals struct {
	Picked         uint64 `json:"-"`               // of the requests, those that the policy placed
	ConnectErrors  uint64 `json:"connect_errors"`  // HAProxy's econ
	ResponseErrors uint64 `json:"response_errors"` // HAProxy's eresp
	Retries        uint64 `json:"retries"`         // requests tried again after failing here
	Redispatches   uint64 `json:"redispatches"`    // of these, on another upstream
	ClientAborts   uint64 `json:"-"`
	ServerAborts   uint64 `json:"-"`
	TimeOuts       uint64 `json:"-"`
	Connects       uint64 `json:"-"` // connections made
	Reuses         uint64 `json:"-"` // requests on idle ones
	Lost           Causes `json:"-"` // sessions that left here
	Responses      `json:"responses"`
	Times                    // of whole requests
	QueueTime      Times     `json:"-"`
	ConnectTime    Times     `json:"-"`
	ResponseTime   Times     `json:"-"`
	LastUsed       time.Time `json:"last_used,omitzero"` // to the second; zero: never
}
