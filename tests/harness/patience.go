package harness

import (
	"os/exec"
	"sync/atomic"
	"time"
)

// usual is how long the program takes to tell its version on the machine that the tests' limits were
// chosen for, with something to do besides.
const (
	usual      = 100 * time.Millisecond
	usualRaced = 300 * time.Millisecond // with the race detector
)

// slowest is how many times slower a machine may be before a limit is what it takes.
const slowest = 8

// machine is how many times the limits are longer here, in percent; 0: not measured.
var machine atomic.Int64

// yardstick is the program that tells how fast the machine is; nil: none was built.
var yardstick atomic.Pointer[struct {
	program string
	usual   time.Duration
}]

// measure starts the program a few times to see how fast this machine is.
func measure(program string, usual time.Duration) {
	yardstick.Store(&struct {
		program string
		usual   time.Duration
	}{program, usual})
	var best time.Duration
	for range 3 {
		began := time.Now()
		if exec.Command(program, "version").Run() != nil {
			return
		}
		if took := time.Since(began); best == 0 || took < best {
			best = took
		}
	}
	machine.Store(max(machine.Load(), min(max(int64(100*best/usual), 100), 100*slowest)))
}

// Patience is limit as this machine needs it: the same on a quick one, longer on one that takes
// longer to start the program.
func Patience(limit time.Duration) time.Duration {
	return limit * time.Duration(max(machine.Load(), 100)) / 100
}

// Over reports whether something has taken more than limit, see Patience. The machine may have become busy since the tests began, so it is
// measured anew before anything is too late.
func Over(took, limit time.Duration) bool {
	if took <= Patience(limit) {
		return false
	}
	if y := yardstick.Load(); y != nil {
		measure(y.program, y.usual)
	}
	return took > Patience(limit)
}
