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
	Load    float64 `json:"load_cpu_us"`   // of the load generator
	Origin  float64 `json:"origin_cpu_us"` // of the origin
	Errors  int     `json:"errors"`
	Bytes   float64 `json:"bytes_per_connection,omitempty"`
	Samples int     `json:"samples"`
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
	return r
}

// ratios puts the figures that promises are about in one line each.
func (r *report) ratios() {
	cpu := map[string]float64{}
	for _, x := range r.Results {
		cpu[x.Case+" "+x.Proxy] = x.CPU
	}
	say := func(kase, what string, proxy string, others ...string) {
		ours, best := cpu[kase+" "+proxy], 0.0
		for _, o := range others {
			if v := cpu[o]; v > 0 && (best == 0 || v < best) {
				best = v
			}
		}
		if ours > 0 && best > 0 {
			r.Ratios[kase+": "+proxy+" / "+what] = fmt.Sprintf("%.2f", ours/best)
		}
	}
	for _, p := range []string{"portico-loop", "portico-conn"} {
		say("sticky", "better of nginx (not sticky) and haproxy", p, "sticky nginx", "sticky haproxy")
		say("sticky", "relay", p, "sticky relay")
		for _, k := range []string{"small", "k16", "m1", "post4k", "tls", "tlsnew", "tlsresume", "h2", "ws", "half"} {
			say(k, "nginx", p, k+" nginx")
			say(k, "haproxy", p, k+" haproxy")
		}
	}
}

// verify warns of results that say more of the load generator or the origin than of the proxy, or that came about with errors.
func (r *report) verify() {
	for _, x := range r.Results {
		where := x.Case + ", " + x.Proxy
		if x.Bytes == 0 && x.Load >= x.CPU {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the load generator costs %.1f µs a request, the proxy %.1f: take CPU only, not rate and latency", where, x.Load, x.CPU))
		}
		if x.Bytes == 0 && x.Origin >= x.CPU {
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
			fmt.Fprintln(t, "\tCPU µs\tspan\tuser\trequests/s\tp50 µs\tp99\tp99.9\tload µs\torigin µs\terrors\tbytes\t")
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f-%.1f\t%.0f%%\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%d\t%.0f\t\n", x.Proxy, x.CPU, x.Low, x.High, 100*x.User, x.Rate, x.P50, x.P99, x.P999, x.Load, x.Origin, x.Errors, x.Bytes)
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
