package main

import (
	"context"
	"time"

	"portico/internal/pause"
	"portico/tests/bench/account"
)

// measureStart is line 3: a proxy that has been there before, with the same sites.
func measureStart(ctx context.Context, b *bench, program string) ([]figure, error) {
	d, err := openDoor(ctx, b, program, "3-first")
	if err != nil {
		return nil, err
	}
	defer d.close()
	fresh := d.took
	d.m.Stop()
	if err := d.start("3", 10*time.Second); err != nil {
		return nil, err
	}
	cpu, early := d.cpu(), account.PSS(d.m.Pid())
	if err := pause.For(ctx, b.settle); err != nil {
		return nil, err
	}
	late := account.PSS(d.m.Pid())
	share, err := d.idle(5 * time.Second)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"3", "start: first answer", d.took.Seconds(), "s", "1"},
		{"3", "  CPU until then", cpu.Seconds(), "s", ""},
		{"3", "  the very first start: first answer", fresh.Seconds(), "s", ""},
		{"3", "  PSS at the first answer", float64(early) / (1 << 20), "MiB", ""},
		{"3", "  PSS " + b.settle.String() + " later", float64(late) / (1 << 20), "MiB", "120"},
		{"3", "  then nothing but checks: share of a core", 100 * share, "%", ""},
	}, nil
}
