package client

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewStats makes the command portico stats.
func NewStats(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "stats", Short: "Print what the proxy counts", Args: cobra.NoArgs}
	asCSV := cmd.Flags().Bool("csv", false, "print HAProxy's CSV")
	asJSON := screen.JsonFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		if *asCSV {
			return c.StatsCSV(cmd.Context(), cmd.OutOrStdout())
		}
		stats, err := c.Stats(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), stats)
		}
		return printStats(cmd.OutOrStdout(), stats)
	})
	return cmd
}

func printStats(out io.Writer, stats api.Stats) error {
	fmt.Fprintf(out, "cluster %s, proxy %s, version %s, up %s, revision %d\n\n",
		stats.Cluster, stats.Proxy, stats.Version, screen.Span(stats.Now.Sub(stats.Started)), stats.Revision)
	recounting := false
	t := screen.NewTable(out, "SITE\tSERVER\tRELEASE\tSTATE\tSESSIONS\tREQ/S\tIN FLIGHT\tREQUESTS\tERRORS\tP50 MS\tP99 MS\tREASON")
	for _, pool := range stats.Pools {
		if len(pool.Upstreams) == 0 {
			t.Row("%s\t-\t-\tDOWN\t0\t0.0\t0\t0\t0\t0.00\t0.00\tno instance yet", pool.Name)
		}
		for _, u := range pool.Upstreams {
			recounting = recounting || u.Recounting
			errs := u.ConnectErrors + u.ResponseErrors + u.Status5xx
			t.Row("%s\t%s\t%s\t%s %s\t%s\t%.1f\t%d\t%d\t%d\t%.2f\t%.2f\t%s", pool.Name, u.Name, screen.ShortDigest(u.Release),
				u.Status, screen.Span(u.LastChange.Std()), sessionCount(u.Sessions, u.Recounting), u.Rate, u.InFlight, u.Total, errs, u.P50.Float(), u.P99.Float(), u.Reason)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printRecounting(out, recounting)
}

// NewTop makes the command portico top.
func NewTop(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "top", Short: "Show the traffic, live", Args: cobra.NoArgs}
	every := cmd.Flags().Duration("every", time.Second, "time between two looks, at least 100ms")
	count := cmd.Flags().Int("count", 0, "looks before it ends (0: until Ctrl-C)")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		if *every < 100*time.Millisecond {
			return exitcode.Misuse(fmt.Errorf("--every %v is too often: 100ms at least", *every))
		}
		out := cmd.OutOrStdout()
		line := screen.NewStatusLine(out)
		defer line.Done()
		for n := 1; ; n++ {
			stats, err := c.Stats(cmd.Context())
			switch {
			case cmd.Context().Err() != nil:
				return nil
			case err != nil:
				return err
			}
			if err := printLook(out, stats, *asJSON); err != nil {
				return err
			}
			if n == *count {
				return nil
			}
			if n == 1 { // a proxy that was never there is an error
				c = c.Patient(waitAlong(tellTop(cmd, line, *asJSON)))
			}
			select {
			case <-time.After(*every):
			case <-cmd.Context().Done():
				return nil
			}
		}
	})
	return cmd
}

// tellTop tells that the proxy is away.
func tellTop(cmd *cobra.Command, line *screen.StatusLine, asJSON bool) func(*apiclient.Away) {
	const meanwhile = "the looks go on when it is back"
	if asJSON {
		return screen.TellAwayJSON(cmd, meanwhile)
	}
	return screen.TellAway(line, meanwhile)
}

// printLook prints one look of top: a screen on a terminal, all at once so that
// it does not flicker, and else one after the other.
func printLook(out io.Writer, stats api.Stats, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(stats)
	}
	var b strings.Builder
	if err := printStats(&b, stats); err != nil {
		return err
	}
	_, err := io.WriteString(out, screen.OnScreen(out, b.String()))
	return err
}

// NewAudit makes the command portico audit.
func NewAudit(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "List who did what, newest first", Args: cobra.NoArgs}
	limit := cmd.Flags().Int("limit", 50, "entries")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		entries, err := c.Audit(cmd.Context(), *limit)
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), entries)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "WHEN\tWHO\tFROM\tACTION\tOBJECT\tDETAIL")
		for _, e := range entries {
			t.Row("%s\t%s\t%s\t%s\t%s\t%s", e.At.Local().Format(time.DateTime), e.By, e.From, e.Action, e.Object, e.Detail)
		}
		return t.Flush()
	})
	return cmd
}
