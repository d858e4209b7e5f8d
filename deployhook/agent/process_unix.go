//go:build unix

package agent

import (
	"os/exec"
	"syscall"

	"portico/deployhook/agent/account"
)

// processSystem is what the platform keeps for a process: nothing here.
type processSystem struct{}

func (processSystem) start(cmd *exec.Cmd, s processSpec) error {
	// A session of its own: signals of the agent's terminal do not reach it, and
	// one signal to the group reaches all that it started. The death of the
	// agent is no signal either: the next agent adopts it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.Cover != "" {
		ownMounts(cmd.SysProcAttr) // as root; Shim becomes the account
	} else if account.IsRoot() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.Account.UID), Gid: uint32(s.Account.GID)}
	}
	if s.Group == nil {
		return cmd.Start()
	}
	dir, err := s.Group.Open()
	if err != nil {
		return err
	}
	defer dir.Close()
	intoGroup(cmd.SysProcAttr, int(dir.Fd()))
	return cmd.Start()
}

func (p *process) terminate() { p.signal(syscall.SIGTERM) }
func (p *process) kill()      { p.signal(syscall.SIGKILL) }

// signal sends sig to the group. The leader is checked first, so that a pid
// that is in use again is left alone.
func (p *process) signal(sig syscall.Signal) {
	select {
	case <-p.done:
		return
	default:
	}
	if p.mark == "" || processAlive(p.pid, p.mark) {
		_ = syscall.Kill(-p.pid, sig)
	}
}

// sweep kills what is left after the leader ended: the rest of its group, and
// processes that left the group but bear the instance's id.
func (p *process) sweep() {
	// The group's number stays taken while a member of it lives, so it cannot
	// be somebody else's.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	for _, pid := range instanceProcesses(func(id, _ string) bool { return id == p.id }) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
