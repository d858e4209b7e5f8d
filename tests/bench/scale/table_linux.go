package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"portico/tests/bench/account"
)

// figure is one thing that was measured.
type figure struct {
	line  string // of the table
	what  string
	value float64
	unit  string
	most  string // what it shall be at most; empty: it explains another figure
}

// table prints figures as they come: what a line says must not be lost with the next line's failure.
type table struct {
	programs int
}

func newTable(b *bench, programs int) *table {
	load, _ := os.ReadFile("/proc/loadavg")
	where := "the configuration file"
	if b.catalog {
		where = "the catalog"
	}
	fmt.Printf("%s, %s, %d cores, load %s\n%d sites in %s, %d instances each, a check every %v\n\n",
		account.Processor(), account.Kernel(), runtime.NumCPU(), strings.TrimSpace(string(load)), b.sites, where, b.instances, b.interval)
	fmt.Printf("%-4s %-66s %12s", "line", "what", "measured")
	if programs > 1 {
		fmt.Printf(" %12s %8s", "beside", "ratio")
	}
	fmt.Printf(" %-6s %s\n", "", "at most")
	return &table{programs: programs}
}

// turns lets the programs take turns at a line, and prints medians.
func (t *table) turns(ctx context.Context, b *bench, l line, programs []string, rounds int) error {
	samples := make([][][]float64, len(programs)) // by program, figure and turn
	var order []figure
	for range rounds {
		for i, program := range programs {
			figures, err := l.run(ctx, b, program)
			if err != nil {
				return fmt.Errorf("line %s: %w", l.name, err)
			}
			samples[i] = append(samples[i], make([][]float64, max(len(figures)-len(samples[i]), 0))...)
			for j, f := range figures {
				samples[i][j] = append(samples[i][j], f.value)
			}
			order = figures
		}
	}
	for j, f := range order {
		fmt.Printf("%-4s %-66s %12s", f.line, f.what, amount(median(samples[0][j])))
		if len(programs) > 1 {
			was, is := median(samples[1][j]), median(samples[0][j])
			fmt.Printf(" %12s %8.2f", amount(was), is/was)
		}
		fmt.Printf(" %-6s %s\n", f.unit, f.most)
	}
	return nil
}

func amount(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(of))[len(of)/2]
}
