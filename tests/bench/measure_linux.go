package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"portico/tests/bench/account"
)

// measure lets the proxies take turns at a case.
func (b *bench) measure(ctx context.Context, k kase, peers []*peer, origin, rounds int, length time.Duration) []result {
	samples := map[*peer][]sample{}
	if k.memory {
		return b.memory(k, peers)
	}
	for range rounds {
		for _, p := range peers {
			if ctx.Err() != nil || k.tls && p.https == "" || p.name == "relay" && k.tls {
				continue
			}
			before := account.CPU(origin)
			s, err := b.turn(k, p, length)
			if err != nil {
				fmt.Fprintf(os.Stderr, "bench: %s, %s: %v\n", k.name, p.name, err)
				continue
			}
			if s.Requests > 0 {
				s.origin = float64(account.CPU(origin)-before) / 1000 / float64(s.Requests) * length.Seconds() / (length.Seconds() + .2)
				samples[p] = append(samples[p], s)
			}
		}
	}
	var out []result
	for _, p := range peers {
		if len(samples[p]) > 0 {
			r := middle(samples[p])
			r.Case, r.Proxy = k.name, p.name
			out = append(out, r)
		}
	}
	return out
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
		cpu[i] = account.CPU(p.cmd.Process.Pid)
		user[i], ticks[i] = account.Ticks(p.cmd.Process.Pid)
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

// fresh starts a proxy anew and has it serve for a moment, so that neither what other cases left behind nor the first request of all
// is counted as memory of connections.
func (b *bench) fresh(p *peer) error {
	p.stop()
	if err := b.start(p); err != nil {
		return err
	}
	_, err := b.turn(kase{name: "warm-up", args: []string{"-path", "/s"}}, p, 300*time.Millisecond)
	return err
}

// memory opens many connections and compares what the proxy's processes hold before and after.
func (b *bench) memory(k kase, peers []*peer) []result {
	var out []result
	for _, p := range peers {
		addr := p.http
		if k.tls {
			addr = p.https
		}
		if p.name == "relay" || addr == "" {
			continue
		}
		if err := b.fresh(p); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s, %s: %v\n", k.name, p.name, err)
			continue
		}
		before := account.PSS(p.cmd.Process.Pid)
		c := pinned(b.loadCore, append([]string{b.self, "-role", "load", "-addr", addr}, k.args...)...)
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
		after := account.PSS(p.cmd.Process.Pid)
		_ = stdin.Close()
		_ = c.Wait()
		if n > 0 && n < k.conns {
			fmt.Fprintf(os.Stderr, "bench: %s, %s: only %d connections of %d\n", k.name, p.name, n, k.conns)
		}
		if n > 0 {
			out = append(out, result{Case: k.name, Proxy: p.name, Bytes: float64(after-before) / float64(n), Rate: float64(n), Samples: 1})
		}
	}
	return out
}
