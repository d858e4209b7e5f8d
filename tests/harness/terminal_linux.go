package harness

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// RestartOnTerminal is Restart on a terminal of its own, as a person sees it. What is
// written to the returned file is typed there: "\x03" is Ctrl-C.
func (p *Process) RestartOnTerminal() (keys io.Writer) {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("%s still runs", p.name)
	}
	master, slave, err := openTerminal()
	if err != nil {
		p.t.Skipf("no terminal can be made here: %v", err)
	}
	defer slave.Close()
	p.t.Cleanup(func() { _ = master.Close() })
	cmd := p.command()
	onTerminal(cmd, slave)
	p.run(cmd)
	go func() { _, _ = io.Copy(p.log, master) }() // ends with the terminal
	return master
}

// Type runs a command on a terminal of its own, types the answer there, and returns
// what it shows.
func Type(t testing.TB, cmd *exec.Cmd, answer string) (shown string, err error) {
	t.Helper()
	master, slave, err := openTerminal()
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	defer master.Close()
	onTerminal(cmd, slave)
	err = cmd.Start()
	_ = slave.Close()
	if err != nil {
		return "", err
	}
	fmt.Fprint(master, answer) // the terminal keeps it until the command asks
	out, _ := io.ReadAll(master)
	return string(out), cmd.Wait()
}

func onTerminal(cmd *exec.Cmd, slave *os.File) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
}

func openTerminal() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}
