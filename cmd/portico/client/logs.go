package client

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/deployhook/logs"
	"portico/internal/exitcode"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewLogs makes the command portico logs.
func NewLogs(s *shell.Call) *cobra.Command {
	var q logs.Query
	cmd := &cobra.Command{
		Use: "logs SITE", Short: "Print what a site's processes wrote, from all application servers",
		Long: `Print what a site's processes wrote, from all application servers.

It is the end of the logs of the processes that run, and of the one that wrote last;
with --instance, --release or --since, of all whose logs are kept. The output of
deploy.before and of hooks is --instance commands.`,
		Example: `  portico logs shop -f
  portico logs shop --release 3f2a9c --since 30m`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeWith(s, siteNames),
	}
	cmd.Flags().StringVar(&q.Member, "member", "", "of this application server only")
	cmd.Flags().StringVar(&q.Instance, "instance", "", "of the instances whose id begins so")
	cmd.Flags().StringVar(&q.Release, "release", "", "of the instances of this release, named by the beginning of its digest")
	since := cmd.Flags().String("since", "", "from then on: a duration such as 30m, or a time such as 2026-01-31T08:00:00Z")
	cmd.Flags().IntVar(&q.Lines, "tail", 100, "the last lines of each instance; with --since all, unless said")
	cmd.Flags().IntVar(&q.Lines, "lines", 100, "the same as --tail")
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on until Ctrl-C, also when the proxy is away for a while")
	cmd.MarkFlagsMutuallyExclusive("tail", "lines")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		q.Site, q.JSON = args[0], *asJSON
		var err error
		if q.Since, err = sinceTime(*since, time.Now()); err != nil {
			return exitcode.Misuse(err)
		}
		said := cmd.Flags().Changed("tail") || cmd.Flags().Changed("lines")
		if none := q.Follow && q.Lines == 0; said && !none && (q.Lines < 1 || q.Lines > api.MaxLogLines) {
			return exitcode.Misuse(fmt.Errorf("--tail %d: use 1 to %d, or --since for all from a time on", q.Lines, api.MaxLogLines))
		}
		if !q.Since.IsZero() && !said {
			q.Lines = -1
		}
		if !q.Follow {
			return c.Logs(cmd.Context(), q, cmd.OutOrStdout())
		}
		if err = followLogs(cmd, c, q); cmd.Context().Err() != nil {
			return nil // which is how it ends
		}
		return err
	})
	return cmd
}

// sinceTime reads a duration before now, or a time.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--since %q: write a duration such as 30m, or a time such as 2026-01-31T08:00:00Z", text)
	}
	return at, nil
}
