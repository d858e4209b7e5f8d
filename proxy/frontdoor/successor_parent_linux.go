package frontdoor

import (
	"os"
	"os/exec"
	"syscall"
)

// managersChild makes cmd a child of the service manager instead of this process, where one
// has started this process and it is to become the service's main process, and reports whether it did.
// systemd does not wait for the end of a main process that it took for another's
// child: it would kill it at once when the service is stopped, requests and all.
func managersChild(cmd *exec.Cmd) bool {
	if os.Getenv("NOTIFY_SOCKET") == "" || os.Getppid() != 1 {
		return false
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT}
	return true
}
