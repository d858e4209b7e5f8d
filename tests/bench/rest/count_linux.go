package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report is what was counted.
type report struct {
	Cores   int     `json:"cores"`
	Load    string  `json:"load"` // of the machine, as the system says it
	Seconds float64 `json:"seconds"`
	Members []cost  `json:"members"`
}

// cost is what one process took.
type cost struct {
	Name    string  `json:"name"`
	Percent float64 `json:"percent"` // of one core
	Wakes   float64 `json:"wakes"`   // a second: threads that slept and were woken
}

// spent is what the system has counted for a process until now.
type spent struct {
	cpu   time.Duration
	wakes int64
}

func (c *cluster) count(ctx context.Context, length time.Duration) (report, error) {
	began, before := time.Now(), make([]spent, len(c.members))
	for i, m := range c.members {
		before[i] = spentBy(m.cmd.Process.Pid)
	}
	if err := rest(ctx, length); err != nil {
		return report{}, err
	}
	took := time.Since(began)
	load, _ := os.ReadFile("/proc/loadavg")
	r := report{Cores: runtime.NumCPU(), Load: strings.TrimSpace(string(load)), Seconds: took.Seconds()}
	for i, m := range c.members {
		now := spentBy(m.cmd.Process.Pid)
		if now.cpu == 0 {
			return r, fmt.Errorf("%s has ended: %s", m.name, filepath.Join(c.dir, m.name+".log"))
		}
		r.Members = append(r.Members, cost{
			Name: m.name, Percent: 100 * float64(now.cpu-before[i].cpu) / float64(took), Wakes: float64(now.wakes-before[i].wakes) / took.Seconds(),
		})
	}
	return r, nil
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%d cores, load %s, %.0f seconds without a visitor\n\n", r.Cores, r.Load, r.Seconds)
	fmt.Fprintf(w, "%-10s %12s %12s\n", "process", "% of a core", "wakes/s")
	for _, m := range r.Members {
		fmt.Fprintf(w, "%-10s %12.2f %12.1f\n", m.Name, m.Percent, m.Wakes)
	}
}

// spentBy adds up the threads of a process. One that has ended meanwhile is lost; Go keeps its threads.
func spentBy(pid int) spent {
	var s spent
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(filepath.Join(task, "schedstat"))
		if f := strings.Fields(string(b)); len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			s.cpu += time.Duration(n)
		}
		b, _ = os.ReadFile(filepath.Join(task, "status"))
		for line := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				v, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
				s.wakes += v
			}
		}
	}
	return s
}
