package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// CanAdopt: an agent finds the processes of the one before it.
const CanAdopt = true

// markOf returns a text that no other process of this machine ever has
// together with this pid: the boot and the clock tick of its start. False: no
// such process, or it is dead and waits to be reaped.
func markOf(pid int) (string, bool) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", false
	}
	// The name in parentheses may hold anything, so fields count from its end.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return "", false
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return "", false
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(string(boot)) + "/" + f[19], true
}

func alive(pid int, mark string) bool {
	m, ok := markOf(pid)
	return ok && m == mark
}

// Instances returns the processes whose environment names an instance
// and a data folder that want agrees to. Those of other accounts are seen by
// root only.
func Instances(want func(id, data string) bool) []int {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	self := os.Getpid()
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || pid == self || pid == 1 {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil || len(b) == 0 {
			continue
		}
		id, ok := environValue(b, "PORTICO_INSTANCE=")
		if !ok {
			continue
		}
		data, _ := environValue(b, "PORTICO_DATA_DIR=")
		if want(id, data) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func environValue(environ []byte, key string) (string, bool) {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if v, ok := bytes.CutPrefix(v, []byte(key)); ok {
			return string(v), true
		}
	}
	return "", false
}

// sessionOf returns the session of a process, which is the pid of the
// process that the agent started unless it made one of its own; 0: not known.
func sessionOf(pid int) int {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 4 {
		return 0
	}
	n, _ := strconv.Atoi(f[3])
	return n
}

// intoGroup starts a process in the control group whose folder is open as fd.
func intoGroup(attr *syscall.SysProcAttr, fd int) { attr.UseCgroupFD, attr.CgroupFD = true, fd }

// ownMounts starts a process in a mount namespace of its own.
func ownMounts(attr *syscall.SysProcAttr) { attr.Unshareflags = syscall.CLONE_NEWNS }
