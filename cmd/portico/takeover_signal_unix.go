//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// renewOnSignal starts the program on disk anew at SIGUSR2, with the same arguments.
// The new process asks this one for its place like any other. The returned function ends that.
func (f *frontDoor) renewOnSignal() (stop func()) {
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
			switch {
			case err != nil:
				f.log.Error("no new process started: the program's file is not known", "error", err)
			case f.heir.Load() != 0:
				f.log.Warn("no new process started: the last one has not decided yet", "pid", f.heir.Load())
			default:
				f.startHeir(program)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}

// startHeir starts the program. Nobody waits for the end of what is told about it: it
// outlives this process when all goes well.
func (f *frontDoor) startHeir(program string) {
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LISTEN_") { // sockets from the service manager were for this process
			cmd.Env = append(cmd.Env, v)
		}
	}
	away := managersChild(cmd)
	if err := cmd.Start(); err != nil {
		f.log.Error("no new process started: this one goes on", "program", program, "error", err)
		return
	}
	pid := int64(cmd.Process.Pid)
	f.heir.Store(pid)
	f.log.Info("new process started", "program", program, "pid", pid)
	go func() {
		var err error
		if away {
			awaitEnd(cmd.Process.Pid) // somebody else is told how it ended
		} else {
			err = cmd.Wait()
		}
		f.heir.CompareAndSwap(pid, 0)
		f.log.Error("the new process has ended", "pid", pid, "state", cmd.ProcessState.String(), "error", err)
	}()
}

// awaitEnd waits until no process has that id.
func awaitEnd(pid int) {
	for syscall.Kill(pid, 0) != syscall.ESRCH {
		time.Sleep(200 * time.Millisecond)
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
