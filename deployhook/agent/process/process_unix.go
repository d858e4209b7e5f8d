//go:build unix

package process

import (
	"os/exec"
	"syscall"

	"portico/deployhook/agent/account"
)

// system is what the platform keeps for a process: nothing here.
type system struct{}

func (system) start(cmd *exec.Cmd, s Spec) error {
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

func (p *Process) terminate() { p.signal(syscall.SIGTERM) }

// Kill ends the process and its group at once.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// signal sends sig to the group. The leader is checked first, so that a pid
// that is in use again is left alone.
func (p *Process) signal(sig syscall.Signal) {
	select {
	case <-p.Done:
		return
	default:
	}
	if p.Mark == "" || alive(p.PID, p.Mark) {
		_ = syscall.Kill(-p.PID, sig)
	}
}

// sweep kills what is left after the leader ended: the rest of its group, and
// processes that left the group but bear the instance's id.
func (p *Process) sweep() {
	// The group's number stays taken while a member of it lives, so it cannot
	// be somebody else's.
	_ = syscall.Kill(-p.PID, syscall.SIGKILL)
	for _, pid := range Instances(func(id, _ string) bool { return id == p.ID }) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
