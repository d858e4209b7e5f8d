package account

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// processes returns a process and all below it.
func processes(pid int) []int {
	list := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				list = append(list, processes(n)...)
			}
		}
	}
	return list
}

// CPU is the time that a process and its children have run, in nanoseconds, to the scheduler's precision.
func CPU(pid int) (ns int64) {
	for _, p := range processes(pid) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p))
		for _, t := range tasks {
			b, _ := os.ReadFile(t)
			if f := strings.Fields(string(b)); len(f) > 0 {
				n, _ := strconv.ParseInt(f[0], 10, 64)
				ns += n
			}
		}
	}
	return ns
}

// Ticks is user time and all time, in the kernel's ticks.
func Ticks(pid int) (user, all int64) {
	for _, p := range processes(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			u, _ := strconv.ParseInt(f[11], 10, 64)
			s, _ := strconv.ParseInt(f[12], 10, 64)
			user, all = user+u, all+u+s
		}
	}
	return user, all
}

// PSS is the memory that a process and its children hold, shared pages divided, in bytes.
func PSS(pid int) (n int64) {
	for _, p := range processes(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				k, _ := strconv.ParseInt(f[1], 10, 64)
				n += k << 10
			}
		}
	}
	return n
}

// Processor is what this machine computes with.
func Processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, " \t:\n")
		}
	}
	return runtime.GOARCH
}

// Kernel is the system that runs, and its version.
func Kernel() string {
	b, _ := exec.Command("uname", "-sr").Output()
	return strings.TrimSpace(string(b))
}
