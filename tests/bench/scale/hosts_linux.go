package main

import (
	"context"
	"time"

	"portico/internal/pause"
)

// measureHosts is line 4. Visitors have been to every site before: what a new session costs is another question.
func measureHosts(ctx context.Context, b *bench, program string) ([]figure, error) {
	d, err := openDoor(ctx, b, program, "4")
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := pause.For(ctx, b.settle); err != nil {
		return nil, err
	}
	one, err := d.costOf(1)
	if err != nil {
		return nil, err
	}
	d.profile()
	any, err := d.costOf(d.hosts())
	if err != nil {
		return nil, err
	}
	d.profile()
	return []figure{
		{"4", "a request to one host: CPU of the proxy", one, "us", ""},
		{"4", "  to a host drawn from all", any, "us", ""},
		{"4", "  against one host", any / one, "x", "1.5"},
	}, nil
}

// costOf is the CPU time of a request to one of so many hosts, in microseconds, beyond what the proxy takes anyway.
func (d *door) costOf(hosts int) (float64, error) {
	share, err := d.idle(3 * time.Second)
	if err != nil {
		return 0, err
	}
	v := startVisitors(d.http, d.b.conns, hosts, 0)
	err = pause.For(d.ctx, 10*time.Second) // until there are cookies and connections for all
	before, from := d.cpu(), v.now()
	if err == nil {
		err = pause.For(d.ctx, 8*time.Second)
	}
	spent, to := d.cpu()-before, v.now()
	all, stopped := v.stop()
	if err != nil {
		return 0, err
	}
	if stopped != nil {
		return 0, stopped
	}
	spent -= time.Duration(share * float64(to-from))
	return spent.Seconds() * 1e6 / float64(max(len(between(all, from, to)), 1)), nil
}
