package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"portico/internal/pause"
)

// How the burst is measured: what is "before", how long the time after it is watched, and in which pieces.
const (
	beforeBurst = 5 * time.Second
	afterBurst  = 30 * time.Second
	piece       = 250 * time.Millisecond
)

// measureBurst is line 2: visitors send as fast as they are answered, while there are ten changes a second.
func measureBurst(ctx context.Context, b *bench, program string) ([]figure, error) {
	d, err := openDoor(ctx, b, program, "2")
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := pause.For(ctx, b.settle); err != nil {
		return nil, err
	}
	v := startVisitors(d.http, b.conns, d.hosts(), 0)
	from, to, err := d.burst(v)
	if err == nil {
		err = pause.For(ctx, afterBurst)
	}
	all, stopped := v.stop()
	if err != nil {
		return nil, err
	}
	if stopped != nil {
		return nil, stopped
	}
	before := float64(len(between(all, from-beforeBurst, from))) / beforeBurst.Seconds()
	during := float64(len(between(all, from, to))) / (to - from).Seconds()
	back := recovery(all, to, before*.9)
	if back < 0 {
		fmt.Printf("     the rate of before is not seen again within %v\n", afterBurst)
		back = afterBurst
	}
	return []figure{
		{"2", fmt.Sprintf("ten changes a second for %v: answers before", b.burst), before, "/s", ""},
		{"2", "  answers meanwhile", during, "/s", ""},
		{"2", "  throughput lost", 100 * (1 - during/before), "%", "5"},
		{"2", "  until back at nine tenths of it", back.Seconds(), "s", "1"},
		{"2", "  requests that failed", float64(v.failed.Load()), "", ""},
	}, nil
}

// burst lets visitors warm up, then makes changes without waiting for them.
func (d *door) burst(v *visitors) (from, to time.Duration, err error) {
	if err := pause.For(d.ctx, 2*beforeBurst); err != nil {
		return 0, 0, err
	}
	d.profile()
	defer d.profile()
	from = v.now()
	for tick := time.Duration(0); tick < d.b.burst; tick += 100 * time.Millisecond {
		if err := pause.For(d.ctx, max(from+tick-v.now(), 0)); err != nil {
			return 0, 0, err
		}
		if err := d.begin(); err != nil {
			return 0, 0, err
		}
	}
	return from, v.now(), nil
}

// begin makes a change and does not wait until it is served.
func (d *door) begin() error {
	if d.b.catalog {
		go func() { _ = d.setSite() }()
		return nil
	}
	if _, err := d.file.add(); err != nil {
		return err
	}
	return syscall.Kill(d.m.Pid(), syscall.SIGHUP)
}

// recovery is the time until answers come at a rate again; less than 0: they never do.
func recovery(all []visit, from time.Duration, rate float64) time.Duration {
	want := int(rate * piece.Seconds())
	for at := from; at < from+afterBurst-piece; at += piece / 5 {
		if len(between(all, at, at+piece)) >= want {
			return at - from
		}
	}
	return -1
}
