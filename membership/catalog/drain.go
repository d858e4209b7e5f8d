package catalog

import (
	"time"

	"portico/internal/units"
)

// DrainOrder says how something is to be emptied of its sessions. Without more
// they stay until they end.
type DrainOrder struct {
	Since    time.Time      `json:"since"`
	By       string         `json:"by"`
	Move     units.Duration `json:"move,omitempty"`    // sessions that were not used for so long are moved with their next request; 0: none is
	Deadline time.Time      `json:"deadline,omitzero"` // sessions that are left then lose their instance; zero: never
	DrainProgress
}

// DrainProgress is what has come of a drain, as the proxy that watches it writes it
// down: another one, or the same after a restart, goes on from there.
type DrainProgress struct {
	Held  bool      `json:"held,omitempty"`  // it was seen with sessions
	Moved int       `json:"moved,omitempty"` // how many were marked to move
	Lost  int       `json:"lost,omitempty"`  // how many were on an instance that failed meanwhile
	Cause string    `json:"cause,omitempty"` // of that, as visitors are told it: instance-exited, member-failed, network
	Ended time.Time `json:"ended,omitzero"`  // when its outcome was told; zero: it goes on

	// Left is how much of the time until Deadline was left when the proxy that watches it wrote that down last. It counts,
	// and Deadline is for people: clocks are set. 0: no deadline, or an earlier version ordered it.
	Left units.Duration `json:"left,omitempty"`
}

// DrainEmpty is how a drain ends whose sessions have all ended or moved.
const DrainEmpty = "empty"

// DrainOutcome is how a drain has ended.
type DrainOutcome struct {
	How  string `json:"how"`  // DrainEmpty, or why sessions were lost, as visitors are told it: deadline, operator, instance-exited, member-failed, network
	Lost int    `json:"lost"` // how many, as far as is known

	Since time.Time `json:"since,omitzero"` // when the drain began, which tells it from others of the same object
}

// Equal reports whether p and q say the same.
func (p DrainProgress) Equal(q DrainProgress) bool {
	return p.Held == q.Held && p.Moved == q.Moved && p.Lost == q.Lost && p.Cause == q.Cause && p.Ended.Equal(q.Ended) && p.Left == q.Left
}

// Remaining is how long it takes until the deadline, a minute more at worst.
func (o *DrainOrder) Remaining(now time.Time) time.Duration {
	if o.Left > 0 {
		return o.Left.Std()
	}
	return o.Deadline.Sub(now)
}
