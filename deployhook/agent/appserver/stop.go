package appserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"portico/deployhook/agent/state"
	"portico/internal/exitcode"
	"portico/internal/pause"
	"portico/internal/statedir"
)

// endSitesFile, in the agent's own folder, tells the agent whose process id it holds
// to end its sites when it is told to stop.
const endSitesFile = "end-sites"

// AskedToEndSites reports whether portico agent stop --sites has left its wish for this process.
func AskedToEndSites(dir string) bool {
	path := filepath.Join(dir, "agent", endSitesFile)
	pid, _ := statedir.ReadMark(path)
	if pid == 0 {
		return false
	}
	_ = os.Remove(path)
	return pid == os.Getpid()
}

// Stop tells the agent that runs on dir to end, and waits for that.
func Stop(ctx context.Context, dir string, sites bool) error {
	pid := state.Holder(dir)
	if pid <= 0 {
		return fmt.Errorf("the agent on %s does not say its process id: stop it by its service manager", dir)
	}
	if sites {
		name := filepath.Join(dir, "agent", endSitesFile)
		if err := statedir.LeaveMark(name, pid); err != nil {
			return fmt.Errorf("ask the agent to end its sites: %w: run this as the agent's user", err)
		}
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Signal(syscall.SIGTERM)
	}
	if err != nil {
		return fmt.Errorf("stop the agent, process %d: %w: stop it by its service manager", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, statedir.PredecessorLimit)
	defer cancel()
	for {
		lock, err := state.LockDir(dir)
		if err == nil {
			return lock.Close()
		}
		if now := state.Holder(dir); now != pid {
			return nil // another one has begun: its service manager starts it again
		}
		if pause.For(ctx, 50*time.Millisecond) != nil {
			return exitcode.Timeout(fmt.Sprintf("the agent, process %d, has not ended within %s: look at its log", pid, statedir.PredecessorLimit))
		}
	}
}

// EndLeft takes over the sites that an agent has left and ends them as that one would have.
func (p *Agent) EndLeft(ctx context.Context) error {
	if !p.accepted() {
		return fmt.Errorf("%s is no accepted member's folder: there are no sites", p.conf.Dir)
	}
	p.brief = true
	return p.Run(ctx)
}

// endsSites reports whether sites end with this process.
func (p *Agent) endsSites() bool { return p.options.EndsSites == nil || p.options.EndsSites() }
