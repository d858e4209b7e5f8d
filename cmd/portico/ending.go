package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// endingFile lies in the state folder while a process that was told to stop still
// finishes what runs. It has the folder and the ports until then, so its successor
// waits for it instead of stumbling over one after the other.
const endingFile = "ending"

// predecessorLimit is longer than a proxy drains and an agent stops its sites by default.
const predecessorLimit = 90 * time.Second

// announceEnd leaves the mark. The returned function takes it away; what a
// process leaves that was killed counts for predecessorLimit at most.
func announceEnd(dir string, log *slog.Logger) (ended func()) {
	name := filepath.Join(dir, endingFile)
	if err := leaveMark(name, os.Getpid()); err != nil {
		log.Warn("end not announced: a process that is started on this folder now fails instead of waiting", "error", err)
		return func() {}
	}
	return func() { _ = os.Remove(name) }
}

// awaitPredecessor waits while another process that was told to stop still runs on
// the folder. One that nobody told to stop is not waited for: the folder's lock
// refuses the second. Nor is one that takes too long: whatever it still has is
// named by the error to come.
func awaitPredecessor(ctx context.Context, dir string, log *slog.Logger) error {
	limit := time.NewTimer(predecessorLimit)
	defer limit.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for told := false; ; told = true {
		pid, ok := predecessor(dir)
		if !ok {
			return nil
		}
		if !told {
			log.Warn("waiting for the portico on this folder, which is just ending", "pid", pid, "dir", dir, "limit", predecessorLimit.String())
		}
		select {
		case <-look.C:
		case <-limit.C:
			log.Warn("the former portico still has not ended: starting beside it", "pid", pid, "dir", dir)
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for the former process %d on %s: %w", pid, dir, context.Cause(ctx))
		}
	}
}

// predecessor returns the process that left its mark in the folder and still runs.
// Where nobody can tell (Windows), none does.
func predecessor(dir string) (pid int, ok bool) {
	pid, at := readMark(filepath.Join(dir, endingFile))
	if pid <= 0 || pid == os.Getpid() || time.Since(at) > predecessorLimit { // left by a process that was killed: its id may be another's by now
		return 0, false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0, false
	}
	err = p.Signal(syscall.Signal(0))
	return pid, err == nil || errors.Is(err, os.ErrPermission)
}

// toldToStop is the error of a start, unless the signal to stop has cut that short: who stops a service while it
// still starts has not found a fault in it.
func toldToStop(ctx context.Context, log *slog.Logger, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("told to stop before it was ready", "during", uncaused(err))
	return nil
}

// watchPresses begins to count how often Ctrl-C is pressed.
func watchPresses() (presses chan os.Signal, stop func()) {
	presses = make(chan os.Signal, 2)
	signal.Notify(presses, os.Interrupt)
	return presses, func() { signal.Stop(presses) }
}

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
