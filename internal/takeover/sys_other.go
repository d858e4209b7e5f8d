//go:build !linux && !darwin

package takeover

import (
	"errors"
	"net"
)

const supported = false

func rights([]int) []byte { return nil }

func rightsSpace(int) int { return 0 }

func parseRights([]byte) ([]int, error) { return nil, errors.ErrUnsupported }

func dupListener(net.Listener) (int, error) { return -1, errors.ErrUnsupported }

func sendDatagram(*net.UnixConn, []byte, []byte) error { return errors.ErrUnsupported }

func dup(int) (int, error) { return -1, errors.ErrUnsupported }

func closeFD(int) {}

func peer(int) (pid, uid int, err error) { return 0, 0, errors.ErrUnsupported }
