package frontdoor

import (
	"os"
	"os/exec"
	"strings"
)

// StartSuccessor starts a program with this one's arguments. It asks this process for its place like any other. Nobody
// waits for the end of what is told about it: it outlives this process when all goes well.
func (p *Proxy) StartSuccessor(program string) {
	if p.successorPID.Load() != 0 {
		p.log.Warn("no new process started: the last one has not decided yet", "pid", p.successorPID.Load())
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
		p.log.Error("no new process started: this one goes on", "program", program, "error", err)
		return
	}
	pid := int64(cmd.Process.Pid)
	p.successorPID.Store(pid)
	p.log.Info("new process started", "program", program, "pid", pid)
	go func() {
		var err error
		if wait != nil {
			wait() // somebody else is told how it ended
		} else {
			err = cmd.Wait()
		}
		p.successorPID.CompareAndSwap(pid, 0)
		p.log.Error("the new process has ended", "pid", pid, "state", cmd.ProcessState.String(), "error", err)
	}()
}
