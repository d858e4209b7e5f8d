package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"portico/tests/bench/cluster"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == siteRole {
		serveSite()
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rest:", err)
		os.Exit(1)
	}
}

// siteRole is the argument with which this program is one of the sites.
const siteRole = "site"

// serveSite is the process of a site.
func serveSite() {
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "at rest")
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func run(args []string) error {
	f := flag.NewFlagSet("rest", flag.ContinueOnError)
	proxies := f.Int("proxies", 1, "proxies that share a catalog")
	sites := f.Int("sites", 6, "sites, every second one a process and the others files")
	length := f.Duration("time", time.Minute, "how long to count")
	rounds := f.Int("rounds", 1, "how often")
	settle := f.Duration("settle", 20*time.Second, "how long to wait before that")
	program := f.String("program", "", "a portico to measure; empty: build the one of this tree")
	beside := f.String("beside", "", "another portico to measure, with a cluster of its own, in the same stretches of time")
	asJSON := f.Bool("json", false, "one JSON object on standard output")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	programs := []string{*program}
	if *beside != "" {
		programs = append(programs, *beside)
	}
	var clusters []*cluster.Cluster
	for i, program := range programs {
		c, err := cluster.New(ctx, program)
		if err != nil {
			return err
		}
		defer c.Close()
		if i > 0 {
			c.Label = "beside: "
		}
		if err := c.Start(*proxies, 1); err != nil {
			return err
		}
		for i := range *sites {
			if err := deploy(c, i); err != nil {
				return err
			}
		}
		clusters = append(clusters, c)
	}
	if err := rest(ctx, *settle); err != nil {
		return err
	}
	report, err := count(ctx, clusters, max(*rounds, 1), *length)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	report.print(os.Stdout)
	return nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
