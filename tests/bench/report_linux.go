package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// sample is one turn of one proxy.
type sample struct {
	cpu, user, rate, origin float64
	loadReport
}

// result is the median of a proxy's turns at a case.
type result struct {
	Case    string  `json:"case"`
	Proxy   string  `json:"proxy"`
	CPU     float64 `json:"cpu_us"` // microseconds a request, user and system
	User    float64 `json:"user_share"`
	Low     float64 `json:"cpu_us_low"`
	High    float64 `json:"cpu_us_high"`
	Rate    float64 `json:"requests_per_second"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p999_us"`
	All999  float64 `json:"all_p999_us"` // of the answers of all turns together
	Low999  float64 `json:"all_p999_us_low"`
	High999 float64 `json:"all_p999_us_high"`
	Load    float64 `json:"load_cpu_us"`   // of the load generator
	Origin  float64 `json:"origin_cpu_us"` // of the origin
	Errors  int     `json:"errors"`
	Bytes   float64 `json:"bytes_per_connection,omitempty"`
	Samples int     `json:"samples"`

	turns []sample
}

type report struct {
	At       string            `json:"at"`
	Machine  string            `json:"machine"`
	Kernel   string            `json:"kernel"`
	Cores    int               `json:"cores"`
	Go       string            `json:"go"`
	Versions map[string]string `json:"versions"`
	Results  []result          `json:"results"`
	Ratios   map[string]string `json:"ratios"`
	Warnings []string          `json:"warnings,omitempty"` // what makes figures doubtful
}

// middle is the median of everything, and the span of the CPU time.
func middle(list []sample) result {
	med := func(f func(s sample) float64) float64 {
		var v []float64
		for _, s := range list {
			v = append(v, f(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	r := result{
		CPU: med(func(s sample) float64 { return s.cpu }), User: med(func(s sample) float64 { return s.user }), Rate: med(func(s sample) float64 { return s.rate }),
		P50: med(func(s sample) float64 { return s.P50 }), P99: med(func(s sample) float64 { return s.P99 }), P999: med(func(s sample) float64 { return s.P999 }),
		Load: med(func(s sample) float64 { return s.loadReport.CPU }), Origin: med(func(s sample) float64 { return s.origin }), Samples: len(list), Low: list[0].cpu,
	}
	for _, s := range list {
		r.Low, r.High = min(r.Low, s.cpu), max(r.High, s.cpu)
		r.Errors += s.Errors
	}
	r.All999 = p999(list, nil)
	r.Low999, r.High999 = between(len(list), func(pick []int) float64 { return p999(list, pick) })
	r.turns = list
	return r
}

// ratios puts the figures that promises are about in one line each.
func (r *report) ratios() {
	turns := map[string][]sample{}
	for _, x := range r.Results {
		turns[x.Case+" "+x.Proxy] = x.turns
	}
	say := func(kase, what string, figure func([]sample, []int) float64, proxy string, others ...string) {
		ours, best := turns[kase+" "+proxy], []sample(nil)
		for _, o := range others {
			if t := turns[kase+" "+o]; len(t) > 0 && (best == nil || figure(t, nil) < figure(best, nil)) {
				best = t
			}
		}
		if len(ours) > 0 && len(best) > 0 && figure(best, nil) > 0 {
			low, high := between(min(len(ours), len(best)), func(pick []int) float64 { return figure(ours, pick) / figure(best, pick) })
			r.Ratios[kase+": "+proxy+" / "+what] = fmt.Sprintf("%.2f (%.2f-%.2f)", figure(ours, nil)/figure(best, nil), low, high)
		}
	}
	for _, p := range []string{"portico-loop", "portico-conn"} {
		say("sticky", "better of nginx (not sticky) and haproxy", cpu, p, "nginx", "haproxy")
		say("sticky", "relay", cpu, p, "relay")
		for _, k := range []string{"small", "k16", "m1", "post4k", "tls", "tlsnew", "tlsresume", "h2", "ws", "half"} {
			say(k, "nginx", cpu, p, "nginx")
			say(k, "haproxy", cpu, p, "haproxy")
		}
		for _, o := range []string{"haproxy", "nginx"} {
			say("half", o+", p99.9 of all turns", p999, p, o)
			say("half", o+", p99.9 of the middle turn", middle999, p, o)
		}
		say("sticky", "beside", cpu, p, "portico-beside")
		say("half", "beside, p99.9 of all turns", p999, p, "portico-beside")
	}
}

// verify warns of results that say more of the load generator or the origin than of the proxy, or that came about with errors.
func (r *report) verify() {
	for _, x := range r.Results {
		where := x.Case + ", " + x.Proxy
		if x.Case == "half" && x.Rate < 0.99*halfRate {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %.0f requests a second, not %d: this machine is too slow or too busy", where, x.Rate, halfRate))
		}
		if x.Case != "half" && x.Bytes == 0 && x.Load >= x.CPU {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the load generator costs %.1f µs a request, the proxy %.1f: take CPU only, not rate and latency", where, x.Load, x.CPU))
		}
		if x.Case != "half" && x.Bytes == 0 && x.Origin >= x.CPU {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the origin costs %.1f µs a request, the proxy %.1f: take CPU only, not rate and latency", where, x.Origin, x.CPU))
		}
		if x.Errors > 0 {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %d errors", where, x.Errors))
		}
	}
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %d cores, %s\n", r.Machine, r.Kernel, r.Cores, r.Go)
	for _, name := range slices.Sorted(mapKeys(r.Versions)) {
		fmt.Fprintf(w, "  %-14s %s\n", name, r.Versions[name])
	}
	last := ""
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, x := range r.Results {
		if x.Case != last {
			last = x.Case
			for _, k := range cases {
				if k.name == last {
					fmt.Fprintf(t, "\n%s: %s\n", k.name, k.what)
				}
			}
			fmt.Fprintln(t, "\tCPU µs\tspan\tuser\trequests/s\tp50 µs\tp99\tp99.9\tof all\tspan\tload µs\torigin µs\terrors\tbytes\t")
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f-%.1f\t%.0f%%\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f-%.0f\t%.1f\t%.1f\t%d\t%.0f\t\n", x.Proxy, x.CPU, x.Low, x.High, 100*x.User, x.Rate, x.P50, x.P99, x.P999, x.All999, x.Low999, x.High999, x.Load, x.Origin, x.Errors, x.Bytes)
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, text := range r.Warnings {
		fmt.Fprintln(w, "doubtful:", text)
	}
	for _, k := range slices.Sorted(mapKeys(r.Ratios)) {
		fmt.Fprintf(w, "%-60s %s\n", k, r.Ratios[k])
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
