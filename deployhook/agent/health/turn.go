package health

import (
	"time"

	"portico/internal/pause"
)

const (
	// turnUnits is how many instances are checked at once: what wakes the machine should wake it for several, and
	// a hundred that all begin to answer in the same moment would be in the visitors' way.
	turnUnits = 16
	// turnStep is between two such groups.
	turnStep  = 50 * time.Millisecond
	turnsMost = 10 // groups, before they begin anew
)

// NextTurn returns how long it is until the group is checked that a unit with this number is in.
func NextTurn(every time.Duration, number int) time.Duration {
	return pause.TickAfter(every, time.Duration(number/turnUnits%turnsMost)*turnStep)
}
