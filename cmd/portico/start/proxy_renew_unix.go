//go:build unix

package start

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"portico/proxy/frontdoor"
)

// renewOnSignal starts the program on disk anew at SIGUSR2, with the same arguments.
// The returned function ends that.
func renewOnSignal(p *frontdoor.Proxy, log *slog.Logger) (stop func()) {
	program, err := programFile() // now: later it may have been moved away
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-signals:
			}
			if err != nil {
				log.Error("no new process started: the program's file is not known", "error", err)
				continue
			}
			p.StartSuccessor(program)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}

// programFile is where this program was started from, links not followed: what they lead
// to may be the next version by the time it is asked for.
func programFile() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}
