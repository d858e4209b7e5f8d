package frontdoor

import (
	"os"
	"time"
)

// onPress calls f when Ctrl-C is pressed from now on. The press that made this process stop
// is not one of them: it comes by this way too, at the same moment.
func onPress(presses <-chan os.Signal, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-presses:
		case <-time.After(100 * time.Millisecond):
		}
		select {
		case <-presses:
			f()
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}
