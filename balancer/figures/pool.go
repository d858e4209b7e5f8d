package figures

import (
	"time"

	"portico/conf/sites"
)

// Pool is the upstreams of one site at one moment.
type Pool struct {
	Name       string        `json:"name"`
	Zone       string        `json:"-"`
	Policy     sites.Policy  `json:"policy"`
	Status     string        `json:"status"` // UP or DOWN: whether new visitors find an upstream
	LastChange Millis        `json:"last_change_ms"`
	DownTime   time.Duration `json:"-"`
	Downs      uint64        `json:"-"`

	Active   int `json:"active"` // usable upstreams
	Backup   int `json:"backup"` // usable upstreams that take visitors only while no other can
	Weight   int `json:"-"`      // effective, of all usable ones
	Sessions int `json:"sessions"`
	InFlight int `json:"in_flight"` // requests
	Traffic
	Sum Totals `json:"-"` // like Traffic, of all upstreams, also of those that have left

	Recounting     bool    `json:"recounting,omitempty"` // there may be more sessions than this proxy has seen
	Waiting        int     `json:"waiting"`              // visitors in the waiting room
	Queued         int     `json:"queued"`               // requests that wait and belong to no upstream
	QueuedMax      int     `json:"-"`
	Arrived        uint64  `json:"-"` // requests that came, without second attempts
	NewSessions    uint64  `json:"new_sessions"`
	NewSessionRate float64 `json:"new_session_rate"`
	NewSessionMax  float64 `json:"-"`
	FailOpen       uint64  `json:"-"` // requests to an upstream not known to be up
	Bursts         uint64  `json:"-"` // requests that joined another's first visit
	Shifted        uint64  `json:"-"` // sessions that changed the instance at a safe moment
	SecondAttempts uint64  `json:"-"`
	RetriesRefused uint64  `json:"-"`
	QueueFull      uint64  `json:"-"`
	QueueTimeouts  uint64  `json:"-"`
	Lost           Causes  `json:"lost,omitzero"`    // sessions
	Refused        Causes  `json:"refused,omitzero"` // cookies not honoured
	Nothing        Causes  `json:"-"`                // requests that found no upstream

	Upstreams []Upstream `json:"upstreams"`
}
