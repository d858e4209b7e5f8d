package api

import (
	"time"
)

// Stats is the answer of GET /v1/stats: what this proxy counts, and who is in
// the cluster. Durations are in milliseconds, rates per second.
type Stats struct {
	Cluster   string          `json:"cluster"`
	Proxy     string          `json:"proxy"`
	Version   string          `json:"version"`
	Revision  int64           `json:"revision"`
	Now       time.Time       `json:"now"`
	Started   time.Time       `json:"started"`
	Frontends []FrontendStats `json:"frontends"`
	Pools     []PoolStats     `json:"pools"`
	Members   []MemberInfo    `json:"members,omitempty"` // not for accounts whose scope is some sites
}

// FrontendStats is one listener.
type FrontendStats struct {
	Name        string            `json:"name"`
	Addr        string            `json:"addr"`
	Conns       int               `json:"conns"`
	ConnsMax    int               `json:"conns_max"`
	ConnsLimit  int               `json:"conns_limit"`
	ConnTotal   uint64            `json:"conn_total"`
	ConnRate    float64           `json:"conn_rate"`
	ConnRateMax float64           `json:"conn_rate_max"`
	Requests    uint64            `json:"requests"`
	ReqRate     float64           `json:"req_rate"`
	ReqRateMax  float64           `json:"req_rate_max"`
	BytesIn     uint64            `json:"bytes_in"`
	BytesOut    uint64            `json:"bytes_out"`
	Denied      uint64            `json:"denied"`
	Errors      uint64            `json:"errors"`
	Responses   map[string]uint64 `json:"responses"` // by class: "2xx"
}

// PoolStats is one site's pool.
type PoolStats struct {
	Name           string            `json:"name"`
	Policy         string            `json:"policy"`
	Status         string            `json:"status"` // UP or DOWN
	LastChange     int64             `json:"last_change_ms"`
	Active         int               `json:"active"`
	Backup         int               `json:"backup"`
	Sessions       int               `json:"sessions"`
	InFlight       int               `json:"in_flight"`
	Total          uint64            `json:"total"`
	Rate           float64           `json:"rate"`
	RateMax        float64           `json:"rate_max"`
	BytesIn        uint64            `json:"bytes_in"`
	BytesOut       uint64            `json:"bytes_out"`
	Recounting     bool              `json:"recounting,omitempty"` // session counts are still too low after a start
	Waiting        int               `json:"waiting"`              // requests that wait, in all
	Queued         int               `json:"queued"`
	NewSessions    uint64            `json:"new_sessions"`
	NewSessionRate float64           `json:"new_session_rate"`
	Lost           map[string]uint64 `json:"lost,omitempty"`    // sessions, by cause
	Refused        map[string]uint64 `json:"refused,omitempty"` // cookies, by cause
	Upstreams      []UpstreamStats   `json:"upstreams"`
}

// UpstreamStats is one instance as this proxy sees it.
type UpstreamStats struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Member      string            `json:"member,omitempty"`
	Addr        string            `json:"addr"`
	Release     string            `json:"release,omitempty"`
	Admin       string            `json:"admin"`  // ready, drain or maint
	State       string            `json:"state"`  // up, suspect, down or unverified
	Status      string            `json:"status"` // in HAProxy's words
	Reason      string            `json:"reason,omitempty"`
	InRotation  bool              `json:"in_rotation"`
	Retiring    bool              `json:"retiring,omitempty"`
	Backup      bool              `json:"backup,omitempty"`
	LastChange  int64             `json:"last_change_ms"`
	DownTime    int64             `json:"down_time_ms"`
	CheckCode   string            `json:"check_code,omitempty"`
	CheckStatus int               `json:"check_status,omitempty"`
	CheckTime   float64           `json:"check_ms,omitempty"`
	CheckDetail string            `json:"check_detail,omitempty"`
	ChecksFail  uint64            `json:"checks_failed"`
	Downs       uint64            `json:"downs"`
	Weight      int               `json:"weight"`
	WeightSet   int               `json:"weight_set"`
	Sessions    int               `json:"sessions"`
	Recounting  bool              `json:"recounting,omitempty"` // there may be more sessions: see MemberInfo
	SessionsMax int               `json:"sessions_limit"`       // 0: none
	InFlight    int               `json:"in_flight"`
	InFlightMax int               `json:"in_flight_max"`
	MaxConns    int               `json:"max_conns"` // 0: none
	Queued      int               `json:"queued"`
	QueuedMax   int               `json:"queued_max"`
	Total       uint64            `json:"total"`
	Rate        float64           `json:"rate"`
	RateMax     float64           `json:"rate_max"`
	BytesIn     uint64            `json:"bytes_in"`
	BytesOut    uint64            `json:"bytes_out"`
	ConnErrors  uint64            `json:"connect_errors"`
	RespErrors  uint64            `json:"response_errors"`
	Retries     uint64            `json:"retries"`
	Redispatch  uint64            `json:"redispatches"`
	Responses   map[string]uint64 `json:"responses"`
	P50         float64           `json:"p50_ms"`
	P99         float64           `json:"p99_ms"`
	Max         float64           `json:"max_ms"`
	LastUsed    time.Time         `json:"last_used,omitzero"`
}
