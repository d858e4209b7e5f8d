package agent

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portForeign names the process that listens on a loopback port if it is not p
// or one of its descendants; empty when it is, or when that cannot be told.
func portForeign(port int, p *process) string {
	inode := listenerInode(port)
	if inode == "" {
		return ""
	}
	own := make(map[int]bool)
	for _, pid := range instanceProcesses(func(id, _ string) bool { return id == p.id }) {
		own[pid] = true
	}
	own[p.pid] = true
	holder := 0
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		if own[pid] || session(pid) == p.pid {
			return ""
		}
		holder = pid
	}
	if holder == 0 {
		return ""
	}
	return fmt.Sprintf("pid %d", holder)
}

// listenerInode returns the inode of the socket that listens on port.
func listenerInode(port int) string {
	suffix := fmt.Sprintf(":%04X", port)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st … uid timeout inode
			v := strings.Fields(lines.Text())
			if len(v) > 9 && v[3] == "0A" && strings.HasSuffix(v[1], suffix) {
				_ = f.Close()
				return v[9]
			}
		}
		_ = f.Close()
	}
	return ""
}

// session returns the session of a process, which is the pid of the process
// that the agent started unless it made one of its own.
func session(pid int) int {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 4 {
		return 0
	}
	n, _ := strconv.Atoi(f[3])
	return n
}
