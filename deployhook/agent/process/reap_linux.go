package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// UserRuns reports whether a process runs as uid, dead ones that wait for their
// parent not counted. /proc shows that of every process to everybody.
func UserRuns(uid int) bool {
	names, _ := filepath.Glob("/proc/[0-9]*/status")
	want := strconv.Itoa(uid)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || strings.HasPrefix(statusField(b, "State:"), "Z") {
			continue
		}
		if f := strings.Fields(statusField(b, "Uid:")); len(f) > 0 && f[0] == want {
			return true
		}
	}
	return false
}

// Reap starts reapUser in a process of its own and waits for its end.
func Reap(shim []string, uid, self int) error {
	if len(shim) == 0 || uid <= 0 || self <= 0 {
		return errors.New("BUG: no user to kill, or none to do it")
	}
	spec, err := json.Marshal(shimSpec{Reap: uid, UID: self})
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{Path: shim[0], Args: shim, Env: []string{}, Dir: "/", Stdin: bytes.NewReader(spec)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// reapUser kills every process of a user. Its effective user may signal those
// and no others; its real and saved one are another's, so that none of them can
// signal it first (kill(2), "Permissions").
func reapUser(uid, self int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("leave groups: %w", err)
	}
	if err := syscall.Setresgid(self, self, self); err != nil {
		return fmt.Errorf("become group %d: %w", self, err)
	}
	if err := syscall.Setresuid(self, uid, self); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if os.Getuid() == 0 || os.Geteuid() == 0 {
		return errors.New("BUG: it would kill everything")
	}
	if err := syscall.Kill(-1, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
