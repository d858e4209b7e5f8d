package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is what was asked for.
type bench struct {
	sites, instances int
	catalog          bool          // the sites lie there
	interval         time.Duration // between two checks of an instance
	settle           time.Duration // after a start, before anything is measured
	core             string        // that the proxy runs on alone; empty: on all
	rate             int           // visitors' requests a second, where they are paced
	conns            int           // of visitors
	changes          int           // one after the other
	burst            time.Duration // of changes in quick succession
	files, bytes     int           // of the site that is installed
	profile          string        // folder for CPU profiles; empty: none

	origin *origin
}

// line is one of the table's: what it measures in one turn of a program.
type line struct {
	name string
	run  func(ctx context.Context, b *bench, program string) ([]figure, error)
}

var lines = []line{
	{"1", measureChange},
	{"2", measureBurst},
	{"3", measureStart},
	{"4", measureHosts},
	{"5,6", measureInstall},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	b := &bench{}
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	chosen := f.String("lines", "1,2,3,4,5,6", "which lines of the table")
	f.IntVar(&b.sites, "sites", 5000, "sites of the proxy")
	f.IntVar(&b.instances, "instances", 4, "instances of each")
	from := f.String("from", "file", "where the sites are: in the configuration file, or in the catalog, where they have no instances; file or catalog")
	f.DurationVar(&b.interval, "interval", time.Minute, "between two checks of an instance")
	f.DurationVar(&b.settle, "settle", 15*time.Second, "how long to wait after a start")
	f.StringVar(&b.core, "core", "", "the core that the proxy has to do with; empty: all")
	f.IntVar(&b.rate, "rate", 1000, "requests a second of the visitors of a change")
	f.IntVar(&b.conns, "conns", 32, "connections of visitors")
	f.IntVar(&b.changes, "changes", 5, "changes one after the other")
	f.DurationVar(&b.burst, "burst", time.Minute, "how long there are ten changes a second")
	f.IntVar(&b.files, "files", 10000, "files of the site that is installed")
	mib := f.Int("mib", 262, "their size together")
	rounds := f.Int("rounds", 1, "turns of each program at each line")
	program := f.String("program", "", "a portico to measure; empty: build the one of this tree")
	beside := f.String("beside", "", "another portico to measure in turns")
	f.StringVar(&b.profile, "profile", "", "folder for CPU profiles of the proxy, by a build of this tree that can make them")
	if err := f.Parse(args); err != nil {
		return err
	}
	b.bytes, b.catalog = *mib<<20, *from == "catalog"
	if *from != "catalog" && *from != "file" || b.sites < 1 || b.sites > maxSites || b.instances < 1 || b.instances > maxInstances {
		return fmt.Errorf("-from is file or catalog, -sites 1 to %d, -instances 1 to %d", maxSites, maxInstances)
	}
	if b.profile != "" && (*program != "" || *beside != "") {
		return errors.New("-profile measures a build of its own: neither -program nor -beside")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	programs, cleanup, err := b.programs(ctx, *program, *beside)
	if err != nil {
		return err
	}
	defer cleanup()
	if b.origin, err = startOrigin(); err != nil {
		return err
	}
	defer b.origin.close()
	t := newTable(b, len(programs))
	for _, l := range lines {
		if !asked(*chosen, l.name) {
			continue
		}
		if err := t.turns(ctx, b, l, programs, max(*rounds, 1)); err != nil {
			return err
		}
	}
	return nil
}

// asked reports whether one of the names is in the list.
func asked(list, names string) bool {
	for _, want := range strings.Split(list, ",") {
		for _, name := range strings.Split(names, ",") {
			if n, err := strconv.Atoi(strings.TrimSpace(want)); err == nil && strconv.Itoa(n) == name {
				return true
			}
		}
	}
	return false
}
