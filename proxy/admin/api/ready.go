package api

import (
	"time"
)

// Readiness is the answer of GET /readyz. Its own fields are about traffic, which goes on
// when changes of the cluster have to wait.
type Readiness struct {
	Ready   bool             `json:"ready"`
	Reasons []string         `json:"reasons,omitempty"`
	Changes ChangesReadiness `json:"changes"`
	View    ViewReadiness    `json:"view"`
}

// ChangesReadiness says whether the cluster can be changed by way of this proxy.
type ChangesReadiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
}

// ViewReadiness says how old what this proxy knows of the cluster may be.
type ViewReadiness struct {
	Revision int64      `json:"revision"`
	OldSince *time.Time `json:"old_since,omitempty"` // absent: it is up to date
}
