package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// kase is one kind of work.
type kase struct {
	name, what string
	args       []string // for the load generator
	tls        bool
	sticky     bool // peers that cannot pin do the same work without
	memory     bool
	quick      bool
}

//nolint:gochecknoglobals // a constant table
var cases = []kase{
	{name: "small", what: "GET, 128 bytes, keep-alive", args: []string{"-path", "/s"}, quick: true},
	{name: "sticky", what: "the same with a sticky cookie", args: []string{"-path", "/s", "-host", "sticky.test"}, sticky: true, quick: true},
	{name: "k16", what: "GET, 16 KiB", args: []string{"-path", "/k"}, quick: true},
	{name: "m1", what: "GET, 1 MiB", args: []string{"-path", "/m", "-conns", "16"}, quick: true},
	{name: "post4k", what: "POST of 4 KiB", args: []string{"-path", "/s", "-body", "4096"}},
	{name: "tls", what: "TLS 1.3, keep-alive", args: []string{"-path", "/s", "-mode", "tls"}, tls: true, quick: true},
	{name: "tlsnew", what: "TLS 1.3, a connection each", args: []string{"-path", "/s", "-mode", "tlsnew"}, tls: true},
	{name: "tlsresume", what: "the same, resumed", args: []string{"-path", "/s", "-mode", "tlsresume"}, tls: true},
	{name: "ws", what: "WebSocket messages of 64 bytes, echoed", args: []string{"-path", "/ws", "-mode", "ws"}, quick: true},
	{name: "sites", what: "sticky, one of 1,000 sites with 4 instances each", args: []string{"-path", "/s", "-host", "site777.test"}},
	{name: "half", what: "8 connections: latency at about half load", args: []string{"-path", "/s", "-conns", "8"}},
	{name: "idle", what: "memory of an idle keep-alive connection", args: []string{"-path", "/s", "-mode", "idle", "-conns", "9000"}, memory: true},
}

// sample is one turn of one proxy.
type sample struct {
	cpu, user, rate float64
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
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 1 && args[0] == "-role" {
		switch args[1] {
		case "origin":
			return runOrigin(args[2:])
		case "load":
			return runLoad(args[2:])
		case "portico":
			return runPortico(args[2:])
		}
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := f.Bool("quick", false, "a selection, in under a minute")
	asJSON := f.Bool("json", false, "one JSON object on standard output")
	only := f.String("cases", "", "names of cases, separated by commas; empty: all")
	proxies := f.String("proxies", "", "names of proxies; empty: all that are installed")
	rounds := f.Int("rounds", 0, "turns of each proxy at each case; 0: 5, with -quick 3")
	length := f.Duration("time", 0, "length of one turn; 0: 1.5 s, with -quick 250 ms")
	configs := f.Bool("configs", false, "print the peers' configurations")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *rounds == 0 {
		*rounds = 5
		if *quick {
			*rounds = 3
		}
	}
	if *length == 0 {
		*length = 1500 * time.Millisecond
		if *quick {
			*length = 250 * time.Millisecond
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen := func(list, name string) bool { return list == "" || slices.Contains(strings.Split(list, ","), name) }
	var todo []kase
	for _, k := range cases {
		if *only != "" && chosen(*only, k.name) || *only == "" && (k.quick || !*quick) {
			todo = append(todo, k)
		}
	}
	b, cleanup, err := prepare(slices.ContainsFunc(todo, func(k kase) bool { return k.name == "sites" }))
	if err != nil {
		return err
	}
	defer cleanup()
	originProcess, err := b.startOrigin()
	if err != nil {
		return err
	}
	defer func() { _ = originProcess.Kill() }()
	peers, err := b.peers(func(name string) bool {
		if *proxies == "" && *quick && (name == "portico-std" || name == "caddy") {
			return false
		}
		return chosen(*proxies, name)
	})
	if err != nil {
		return err
	}
	rep := report{
		At: time.Now().UTC().Format(time.RFC3339), Machine: cpuName(), Kernel: kernel(), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Versions: map[string]string{}, Ratios: map[string]string{},
	}
	for _, p := range peers {
		if err := b.start(p); err != nil {
			return err
		}
		defer p.stop()
		rep.Versions[p.name] = p.version
		if *configs {
			fmt.Fprintf(os.Stderr, "--- %s\n%s\n%s\n", p.name, p.version, p.config)
		}
	}
	for _, k := range todo {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rep.Results = append(rep.Results, b.measure(ctx, k, peers, originProcess.Pid, *rounds, *length)...)
	}
	rep.ratios()
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(rep)
	}
	rep.print(os.Stdout)
	return nil
}

func prepare(sites bool) (*bench, func(), error) {
	dir, err := os.MkdirTemp("", "portico-bench")
	if err != nil {
		return nil, nil, err
	}
	b := &bench{dir: dir, cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key")}
	if sites {
		b.sites = 1000
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	if runtime.NumCPU() > 1 {
		b.proxyCore, b.loadCore = "0", "1"
	}
	_ = os.Chmod(dir, 0o755) //nolint:gosec // nginx's worker is another user
	return b, func() { _ = os.RemoveAll(dir) }, b.certificate()
}

func (b *bench) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"small.test", "sticky.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return err
	}
	kder, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
	return errors.Join(os.WriteFile(b.cert, cert, 0o600), os.WriteFile(b.key, private, 0o600), os.WriteFile(b.cert+".pem", append(cert, private...), 0o600))
}

func (b *bench) startOrigin() (*os.Process, error) {
	b.origin = "127.0.0.1:" + strconv.Itoa(freePort())
	c := pinned(b.loadCore, b.self, "-role", "origin", port(b.origin))
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	return c.Process, err
}

// measure lets the proxies take turns at a case.
func (b *bench) measure(ctx context.Context, k kase, peers []*peer, origin, rounds int, length time.Duration) []result {
	samples := map[*peer][]sample{}
	origins := map[*peer]float64{}
	if k.memory {
		return b.memory(k, peers)
	}
	for range rounds {
		for _, p := range peers {
			if ctx.Err() != nil || k.tls && p.https == "" || p.name == "relay" && k.tls {
				continue
			}
			before := cpuOf(origin)
			s, err := b.turn(k, p, length)
			if err != nil {
				fmt.Fprintf(os.Stderr, "bench: %s, %s: %v\n", k.name, p.name, err)
				continue
			}
			if s.Requests > 0 {
				origins[p] = float64(cpuOf(origin)-before) / 1000 / float64(s.Requests) * length.Seconds() / (length.Seconds() + .2)
				samples[p] = append(samples[p], s)
			}
		}
	}
	var out []result
	for _, p := range peers {
		if len(samples[p]) > 0 {
			r := middle(samples[p])
			r.Case, r.Proxy, r.Origin = k.name, p.name, origins[p]
			out = append(out, r)
		}
	}
	return out
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
		Load: med(func(s sample) float64 { return s.loadReport.CPU }), Samples: len(list), Low: list[0].cpu,
	}
	for _, s := range list {
		r.Low, r.High = min(r.Low, s.cpu), max(r.High, s.cpu)
		r.Errors += s.Errors
	}
	return r
}

// turn runs the load generator once against a proxy and reads the proxy's CPU time at its begin and end.
func (b *bench) turn(k kase, p *peer, length time.Duration) (sample, error) {
	addr := p.http
	if k.tls {
		addr = p.https
	}
	c := pinned(b.loadCore, append([]string{b.self, "-role", "load", "-addr", addr, "-time", length.String(), "-warm", min(200*time.Millisecond, length/2).String()}, k.args...)...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return sample{}, err
	}
	if err := c.Start(); err != nil {
		return sample{}, err
	}
	defer func() { _ = c.Wait() }()
	late := time.AfterFunc(length+30*time.Second, func() { _ = c.Process.Kill() })
	defer late.Stop()
	var cpu, ticks [2]int64
	var user [2]int64
	r := bufio.NewReader(out)
	for i := range 2 {
		if _, err := r.ReadString('\n'); err != nil {
			return sample{}, fmt.Errorf("load generator: %w", err)
		}
		cpu[i] = cpuOf(p.cmd.Process.Pid)
		user[i], ticks[i] = ticksOf(p.cmd.Process.Pid)
	}
	var s sample
	if err := json.NewDecoder(r).Decode(&s.loadReport); err != nil {
		return s, err
	}
	_, _ = io.Copy(io.Discard, r)
	if s.Errors > 0 {
		fmt.Fprintf(os.Stderr, "bench: %s, %s: %d errors, the first: %.300q\n", k.name, p.name, s.Errors, s.First)
	}
	if s.Requests > 0 {
		s.cpu = float64(cpu[1]-cpu[0]) / 1000 / float64(s.Requests)
		s.rate = float64(s.Requests) / s.Seconds
	}
	if d := ticks[1] - ticks[0]; d > 0 {
		s.user = float64(user[1]-user[0]) / float64(d)
	}
	return s, nil
}

// memory opens many connections and compares what the proxy's processes hold before and after.
func (b *bench) memory(k kase, peers []*peer) []result {
	var out []result
	for _, p := range peers {
		if p.name == "relay" {
			continue
		}
		before := pssOf(p.cmd.Process.Pid)
		c := pinned(b.loadCore, append([]string{b.self, "-role", "load", "-addr", p.http}, k.args...)...)
		stdin, err1 := c.StdinPipe()
		stdout, err2 := c.StdoutPipe()
		if errors.Join(err1, err2, c.Start()) != nil {
			continue
		}
		late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		late.Stop()
		n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "open ")))
		time.Sleep(3 * time.Second) // let garbage collectors have their turn
		after := pssOf(p.cmd.Process.Pid)
		_ = stdin.Close()
		_ = c.Wait()
		if n > 0 {
			out = append(out, result{Case: k.name, Proxy: p.name, Bytes: float64(after-before) / float64(n), Rate: float64(n), Samples: 1})
		}
	}
	return out
}

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

// cpuOf is the time that a process and its children have run, in nanoseconds, to the scheduler's precision.
func cpuOf(pid int) (ns int64) {
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

// ticksOf is user time and all time, in the kernel's ticks.
func ticksOf(pid int) (user, all int64) {
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

// pssOf is the memory that a process and its children hold, shared pages divided, in bytes.
func pssOf(pid int) (n int64) {
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

func cpuName() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, " \t:\n")
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	b, _ := exec.Command("uname", "-sr").Output()
	return strings.TrimSpace(string(b))
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
		say("sticky", "better of nginx (not sticky) and haproxy", p, "small nginx", "sticky nginx", "sticky haproxy")
		say("sticky", "relay", p, "small relay")
		for _, k := range []string{"small", "k16", "m1", "post4k", "tls", "tlsnew", "tlsresume", "ws", "half"} {
			say(k, "nginx", p, k+" nginx")
			say(k, "haproxy", p, k+" haproxy")
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
