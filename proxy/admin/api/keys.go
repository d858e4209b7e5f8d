package api

import (
	"time"
)

// The keys that members share.
const (
	KeySession = "session" // seals the sticky cookies
	KeyGossip  = "gossip"  // encrypts the gossip
	KeyTickets = "tickets" // seals TLS session tickets
)

// KeyInfo is one line of GET /v1/keys.
type KeyInfo struct {
	Kind    string    `json:"kind"`
	ID      int       `json:"id,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Primary bool      `json:"primary,omitempty"` // seals or encrypts; the others only open
	Next    bool      `json:"next,omitempty"`    // will seal when its time has come
	From    time.Time `json:"from,omitzero"`     // it seals from here on, of session keys
	Until   time.Time `json:"until,omitzero"`    // it opens nothing from here on, of session keys
}
