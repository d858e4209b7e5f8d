package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	if err := os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
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
	name := filepath.Join(dir, endingFile)
	info, err := os.Stat(name)
	if err != nil || time.Since(info.ModTime()) > predecessorLimit { // left by a process that was killed: its id may be another's by now
		return 0, false
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 || pid == os.Getpid() {
		return 0, false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0, false
	}
	err = p.Signal(syscall.Signal(0))
	return pid, err == nil || errors.Is(err, os.ErrPermission)
}
