package takeover

import "syscall"

// peer returns the process and the user at the other end of a unix socket.
func peer(fd int) (pid, uid int, err error) {
	c, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	return int(c.Pid), int(c.Uid), nil
}
