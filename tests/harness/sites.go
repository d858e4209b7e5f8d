package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// SiteProcesses returns the processes of the sites of the agent with that state folder,
// whoever started them. It finds them on Linux only.
func SiteProcesses(dir string) []int {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, name := range names {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte("PORTICO_DATA_DIR="+dir+"/")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && !zombie(pid) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// zombie reports whether a process has ended and waits to be asked for.
func zombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] == 'Z'
}

// killSites ends what an agent has left running.
func killSites(dir string) {
	for range 5 { // a process may just be starting another
		pids := SiteProcesses(dir)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) == 0 {
			return
		}
	}
}

// agentDir is the state folder of an agent's command line, "" of any other.
func agentDir(args []string) string {
	if at := slices.Index(args, "--dir"); len(args) > 0 && args[0] == "agent" && at >= 0 && at+1 < len(args) {
		return args[at+1]
	}
	return ""
}
