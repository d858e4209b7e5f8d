package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"portico/internal/pause"
	"portico/tests/bench/account"
	"portico/tests/bench/cluster"
)

// door is a proxy with many sites.
type door struct {
	b    *bench
	ctx  context.Context
	c    *cluster.Cluster
	m    *cluster.Member
	http string
	args []string
	file *sitesFile
	sets int           // changes of sites in the catalog
	took time.Duration // from its start to its first answer
}

// openDoor starts a proxy and waits until it answers for the last of its sites.
func openDoor(ctx context.Context, b *bench, program, line string) (*door, error) {
	c, err := cluster.New(ctx, program)
	if err != nil {
		return nil, err
	}
	if b.core != "" {
		c.Before = []string{"taskset", "-c", b.core}
	}
	d := &door{b: b, ctx: ctx, c: c, http: cluster.Free()}
	if err := d.prepare(); err != nil {
		d.close()
		return nil, err
	}
	if err := d.start(line, 0); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *door) close() { d.c.Close() }

// prepare writes what the proxy is told, and seeds its catalog.
func (d *door) prepare() (err error) {
	inFile := d.b.sites
	if d.b.catalog {
		inFile = min(inFile, visited)
	}
	config := filepath.Join(d.c.Dir, "portico.toml")
	if d.file, err = d.b.newSitesFile(config, inFile); err != nil {
		return err
	}
	d.args = []string{
		"proxy", "--config", config, "--dir", filepath.Join(d.c.Dir, "proxy-1"), "--name", "proxy-1",
		"--http", d.http, "--https", "", "--admin", cluster.Free(), "--catalog", cluster.Free(), "--gossip", cluster.Free(),
	}
	if d.b.catalog {
		return d.seed()
	}
	return nil
}

// start runs the proxy, and makes a profile of its first moments unless length is zero.
func (d *door) start(line string, length time.Duration) error {
	d.c.Env = d.b.profiled(line, length)
	began := time.Now()
	m, err := d.c.Launch("proxy-1", d.args...)
	if err != nil {
		return err
	}
	d.m = m
	err = d.await(d.hosts()-1, time.Minute, time.Millisecond)
	d.took = time.Since(began)
	if err != nil {
		log, _ := os.ReadFile(m.Log)
		return fmt.Errorf("%w\n%s", err, log[max(0, len(log)-4000):])
	}
	return nil
}

// hosts is how many sites have instances.
func (d *door) hosts() int { return d.file.next }

// await waits until the proxy answers for a site.
func (d *door) await(site int, limit, each time.Duration) error {
	for began := time.Now(); ; {
		err := answers(d.http, host(site))
		if err == nil {
			return nil
		}
		if time.Since(began) > limit {
			return fmt.Errorf("site%d is not served after %v: %w", site, limit, err)
		}
		if err := pause.For(d.ctx, each); err != nil {
			return err
		}
	}
}

func answers(addr, host string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	if s := string(b[:n]); !strings.HasPrefix(s, "HTTP/1.1 200 ") {
		return errors.New(s)
	}
	return nil
}

// cpu is what the proxy has taken until now.
func (d *door) cpu() time.Duration { return time.Duration(account.CPU(d.m.Pid())) }

// idle is the share of a core that the proxy takes while nothing is asked of it.
func (d *door) idle(length time.Duration) (float64, error) {
	before, began := d.cpu(), time.Now()
	if err := pause.For(d.ctx, length); err != nil {
		return 0, err
	}
	return float64(d.cpu()-before) / float64(time.Since(began)), nil
}

// profile begins a CPU profile of the proxy, or ends it.
func (d *door) profile() {
	if d.b.profile != "" {
		_ = syscall.Kill(d.m.Pid(), syscall.SIGPWR)
	}
}
