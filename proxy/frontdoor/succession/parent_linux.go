package succession

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// managersChild makes cmd a child of the service manager instead of this process, where one
// has started this process and it is to become the service's main process. It returns what waits for its end then, else nil.
// systemd does not wait for the end of a main process that it took for another's
// child: it would kill it at once when the service is stopped, requests and all.
func managersChild(cmd *exec.Cmd) (wait func()) {
	if os.Getenv("NOTIFY_SOCKET") == "" || os.Getppid() != 1 {
		return nil
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT}
	return func() {
		for syscall.Kill(cmd.Process.Pid, 0) != syscall.ESRCH {
			time.Sleep(200 * time.Millisecond) // it is no child of this process, so that nothing tells of its end
		}
	}
}
