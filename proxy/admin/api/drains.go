package api

import (
	"time"

	"portico/membership/catalog"
)

// DrainRequest says how to drain; all of it is optional, and sessions stay until
// they end without it.
type DrainRequest struct {
	Move     string `json:"move,omitempty"`     // "5m": sessions that were not used for so long are moved with their next request
	Deadline string `json:"deadline,omitempty"` // "2h": what is left then loses its instance
	Now      bool   `json:"now,omitempty"`      // of a release: its sessions lose their instance at once
}

// DrainOutcome is one line of GET /v1/drains/ended.
type DrainOutcome struct {
	Object  string    `json:"object"` // server-1, shop/INSTANCE, shop@RELEASE
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome"`
	Empty   bool      `json:"empty"` // no session lost its instance
	catalog.DrainOutcome
}
