package agent

import (
	"time"

	"portico/internal/pause"
)

const (
	// beatUnits is how many instances are checked at once: what wakes the machine should wake it for several, and
	// a hundred that all begin to answer in the same moment would be in the visitors' way.
	beatUnits = 16
	// beatStep is between two such groups.
	beatStep = 50 * time.Millisecond
	beatMost = 10 // groups, before they begin anew
)

// beat returns how long it is until the group is checked that a unit with this number is in.
func beat(every time.Duration, number int) time.Duration {
	return pause.StrokeAfter(every, time.Duration(number/beatUnits%beatMost)*beatStep)
}
