package statedir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// endingFile lies in the state folder while a process that was told to stop still
// finishes what runs. It has the folder and the ports until then, so its successor
// waits for it instead of stumbling over one after the other.
const endingFile = "ending"

// PredecessorLimit is longer than a proxy drains and an agent stops its sites by default.
const PredecessorLimit = 90 * time.Second

// AnnounceEnd leaves the mark. The returned function takes it away; what a
// process leaves that was killed counts for PredecessorLimit at most.
func AnnounceEnd(dir string, log *slog.Logger) (ended func()) {
	name := filepath.Join(dir, endingFile)
	if err := LeaveMark(name, os.Getpid()); err != nil {
		log.Warn("end not announced: a process that is started on this folder now fails instead of waiting", "error", err)
		return func() {}
	}
	return func() { _ = os.Remove(name) }
}

// AwaitPredecessor waits while another process that was told to stop still runs on
// the folder. One that nobody told to stop is not waited for: the folder's lock
// refuses the second. Nor is one that takes too long: whatever it still has is
// named by the error to come.
func AwaitPredecessor(ctx context.Context, dir string, log *slog.Logger) error {
	limit := time.NewTimer(PredecessorLimit)
	defer limit.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for told := false; ; told = true {
		pid, ok := predecessor(dir)
		if !ok {
			return nil
		}
		if !told {
			log.Warn("waiting for the portico on this folder, which is just ending", "pid", pid, "dir", dir, "limit", PredecessorLimit.String())
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
	pid, at := ReadMark(filepath.Join(dir, endingFile))
	if pid <= 0 || pid == os.Getpid() || time.Since(at) > PredecessorLimit { // left by a process that was killed: its id may be another's by now
		return 0, false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0, false
	}
	err = p.Signal(syscall.Signal(0))
	return pid, err == nil || errors.Is(err, os.ErrPermission)
}
