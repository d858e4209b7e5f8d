package succession

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
)

// Child is a successor that this process starts itself. The zero value is none.
type Child struct {
	pid atomic.Int64 // 0: none
}

// Is reports whether the child runs as pid.
func (c *Child) Is(pid int) bool { return c.pid.Load() == int64(pid) }

// Start starts a program with this one's arguments. It asks this process for its place like any other. Nobody
// waits for the end of what is told about it: it outlives this process when all goes well.
func (c *Child) Start(program string, log *slog.Logger) {
	if c.pid.Load() != 0 {
		log.Warn("no new process started: the last one has not decided yet", "pid", c.pid.Load())
		return
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LISTEN_") { // sockets from the service manager were for this process
			cmd.Env = append(cmd.Env, v)
		}
	}
	wait := managersChild(cmd)
	if err := cmd.Start(); err != nil {
		log.Error("no new process started: this one goes on", "program", program, "error", err)
		return
	}
	pid := int64(cmd.Process.Pid)
	c.pid.Store(pid)
	log.Info("new process started", "program", program, "pid", pid)
	go func() {
		var err error
		if wait != nil {
			wait() // somebody else is told how it ended
		} else {
			err = cmd.Wait()
		}
		c.pid.CompareAndSwap(pid, 0)
		log.Error("the new process has ended", "pid", pid, "state", cmd.ProcessState.String(), "error", err)
	}()
}
