package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"portico/internal/pause"
)

// after is how long a change is followed beyond its first answer: until what it left for later is done.
const after = 2 * time.Second

// change makes one and returns when it is served.
func (d *door) change() error {
	if d.b.catalog {
		return d.setSite()
	}
	site, err := d.file.add()
	if err != nil {
		return err
	}
	if err := syscall.Kill(d.m.Pid(), syscall.SIGHUP); err != nil {
		return err
	}
	return d.await(site, time.Minute, 5*time.Millisecond)
}

// measureChange is line 1: first without visitors, whose requests would take CPU time too, then with them.
func measureChange(ctx context.Context, b *bench, program string) ([]figure, error) {
	d, err := openDoor(ctx, b, program, "1")
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := pause.For(ctx, b.settle); err != nil {
		return nil, err
	}
	cpu, took, err := d.quietChanges()
	if err != nil {
		return nil, err
	}
	before, during, err := d.visitedChanges()
	if err != nil {
		return nil, err
	}
	return []figure{
		{"1", "one change: CPU of the proxy", median(cpu), "ms", "20"},
		{"1", "  until it is served", median(took), "ms", ""},
		{"1", "  visitors' p99 before", quantile(before, .99), "ms", ""},
		{"1", "  visitors' p99 meanwhile", quantile(during, .99), "ms", ""},
		{"1", "  visitors' longest wait meanwhile", quantile(during, 1), "ms", ""},
		{"1", "  p99 meanwhile against before", quantile(during, .99) / quantile(before, .99), "x", "1.2"},
	}, nil
}

// quietChanges returns what changes cost, in milliseconds of CPU and of time.
func (d *door) quietChanges() (cpu, took []float64, err error) {
	share, err := d.idle(3 * time.Second)
	if err != nil {
		return nil, nil, err
	}
	d.profile()
	defer d.profile()
	for range d.b.changes {
		before, began := d.cpu(), time.Now()
		if err := d.change(); err != nil {
			return nil, nil, err
		}
		took = append(took, time.Since(began).Seconds()*1000)
		if err := pause.For(d.ctx, after); err != nil {
			return nil, nil, err
		}
		spent := d.cpu() - before - time.Duration(share*float64(time.Since(began)))
		cpu = append(cpu, spent.Seconds()*1000)
	}
	return cpu, took, nil
}

// visitedChanges returns the visits before changes and while they were made.
func (d *door) visitedChanges() (before, during []visit, err error) {
	v := startVisitors(d.http, d.b.conns, d.hosts(), d.b.rate)
	begin, end := 3*time.Second, 8*time.Second
	err = pause.For(d.ctx, end)
	type stretch struct{ from, to time.Duration }
	var changes []stretch
	for i := 0; err == nil && i < d.b.changes; i++ {
		from := v.now()
		if err = d.change(); err == nil {
			changes = append(changes, stretch{from, v.now() + 100*time.Millisecond})
			err = pause.For(d.ctx, after)
		}
	}
	all, stopped := v.stop()
	if err != nil {
		return nil, nil, err
	}
	if stopped != nil {
		return nil, nil, stopped
	}
	if n := v.failed.Load(); n > 0 {
		fmt.Printf("     %d requests of visitors failed, the first: %s\n", n, *v.first.Load())
	}
	for _, c := range changes {
		during = append(during, between(all, c.from, c.to)...)
	}
	return between(all, begin, end), during, nil
}
