package api

import (
	"time"

	"portico/balancer/figures"
)

// Stats is the answer of GET /v1/stats: what this proxy counts, and who is in
// the cluster.
type Stats struct {
	Cluster   string             `json:"cluster"`
	Proxy     string             `json:"proxy"`
	Version   string             `json:"version"`
	Revision  int64              `json:"revision"`
	Now       time.Time          `json:"now"`
	Started   time.Time          `json:"started"`
	Frontends []figures.Frontend `json:"frontends"`
	Pools     []figures.Pool     `json:"pools"`
	Members   []MemberInfo       `json:"members,omitempty"` // not for accounts whose scope is some sites
}
