package start

import (
	"os"
	"os/signal"
)

// watchPresses begins to count how often Ctrl-C is pressed.
func watchPresses() (presses chan os.Signal, stop func()) {
	presses = make(chan os.Signal, 2)
	signal.Notify(presses, os.Interrupt)
	return presses, func() { signal.Stop(presses) }
}
