package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/tests/bench/cluster"
)

// report is what was counted.
type report struct {
	Cores   int     `json:"cores"`
	Load    string  `json:"load"` // of the machine, as the system says it
	Seconds float64 `json:"seconds"`
	Members []cost  `json:"members"`
}

// cost is what one process took, in each of the stretches.
type cost struct {
	Name    string    `json:"name"`
	Percent []float64 `json:"percent"` // of one core
	Wakes   []float64 `json:"wakes"`   // a second: threads that slept and were woken
}

// spent is what the system has counted for a process until now.
type spent struct {
	cpu   time.Duration
	wakes int64
}

// count counts what the members of all clusters take, several times in a row.
func count(ctx context.Context, clusters []*cluster.Cluster, rounds int, length time.Duration) (report, error) {
	r := report{Cores: runtime.NumCPU(), Seconds: length.Seconds()}
	var members []*cluster.Member
	for _, c := range clusters {
		for _, m := range c.Members {
			members = append(members, m)
			r.Members = append(r.Members, cost{Name: c.Label + m.Name})
		}
	}
	for range rounds {
		began, before := time.Now(), make([]spent, len(members))
		for i, m := range members {
			before[i] = spentBy(m.Pid())
		}
		if err := rest(ctx, length); err != nil {
			return report{}, err
		}
		took := time.Since(began)
		for i, m := range members {
			now := spentBy(m.Pid())
			if now.cpu == 0 {
				return r, fmt.Errorf("%s has ended: %s", m.Name, m.Log)
			}
			to := &r.Members[i]
			to.Percent = append(to.Percent, 100*float64(now.cpu-before[i].cpu)/float64(took))
			to.Wakes = append(to.Wakes, float64(now.wakes-before[i].wakes)/took.Seconds())
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	r.Load = strings.TrimSpace(string(load))
	return r, nil
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%d cores, load %s, %.0f seconds without a visitor, medians with their spans\n\n", r.Cores, r.Load, r.Seconds)
	fmt.Fprintf(w, "%-18s %24s %12s\n", "process", "% of a core", "wakes/s")
	for _, m := range r.Members {
		least, middle, most := span(m.Percent)
		_, wakes, _ := span(m.Wakes)
		fmt.Fprintf(w, "%-18s %24s %12.1f\n", m.Name, fmt.Sprintf("%.3f (%.3f-%.3f)", middle, least, most), wakes)
	}
}

// span returns the least, the median and the most of some figures.
func span(of []float64) (least, middle, most float64) {
	s := slices.Sorted(slices.Values(of))
	return s[0], s[len(s)/2], s[len(s)-1]
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
