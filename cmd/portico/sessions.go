package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"portico/proxy/admin"
)

func newSessions(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "sessions [SITE]", Short: "Count the live sessions of each instance; list, find, end or move them",
		Example: `  portico sessions
  portico sessions shop --list --member server-1
  portico sessions shop --list --idle 20m
  portico sessions end shop 8f3b2c1d00a94e57`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeWith(s, siteNames),
	}
	var q admin.SessionQuery
	list := cmd.Flags().Bool("list", false, "list the sessions of SITE, the most recently used first")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "with --list: at most so many")
	cmd.Flags().StringVar(&q.Member, "member", "", "with --list: on this application server only")
	cmd.Flags().StringVar(&q.Release, "release", "", "with --list: on this release only")
	cmd.Flags().StringVar(&q.Instance, "instance", "", "with --list: on this instance only")
	cmd.Flags().StringVar(&q.ID, "id", "", "with --list: whose id begins so")
	cmd.Flags().DurationVar(&q.Idle, "idle", 0, "with --list: not used for this long")
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
		switch {
		case *list && len(args) == 0:
			return usageError{fmt.Errorf("name the site: portico sessions SITE --list")}
		case *list:
			return listSessions(cmd, c, args[0], q, *asJSON)
		case len(args) == 1:
			return countSessions(cmd, c, args[0], *asJSON)
		}
		return countSessions(cmd, c, "", *asJSON)
	})
	cmd.AddCommand(
		sessionVerb(s, "end", "End sessions: their visitors begin anew with the next request", "ended", (*admin.Client).EndSession),
		sessionVerb(s, "move", "Have the next request of sessions placed on another instance", "moves with its next request", (*admin.Client).MoveSession))
	return cmd
}

func countSessions(cmd *cobra.Command, c *admin.Client, site string, asJSON bool) error {
	counts, err := c.Sessions(cmd.Context(), site)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), counts)
	}
	t := newTable(cmd.OutOrStdout(), "SITE\tSERVER\tRELEASE\tSTATE\tSESSIONS\tLAST 5 MIN\tLIMIT\tINSTANCE")
	for _, n := range counts {
		limit := "-"
		if n.Limit > 0 {
			limit = fmt.Sprint(n.Limit)
		}
		t.row("%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s", n.Site, n.Member, shortDigest(n.Release), n.State, n.Sessions, n.Recent, limit, n.Instance)
	}
	return t.flush()
}

func listSessions(cmd *cobra.Command, c *admin.Client, site string, q admin.SessionQuery, asJSON bool) error {
	list, err := c.ListSessions(cmd.Context(), site, q)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if asJSON {
		return printJSON(out, list)
	}
	t := newTable(out, "SESSION\tSERVER\tRELEASE\tSTARTED\tIDLE\tNOTE")
	for _, in := range list.Sessions {
		note := ""
		switch {
		case in.Ended:
			note = "ended"
		case in.Moving:
			note = "moves with its next request"
		case !in.Returned:
			note = "seen once"
		}
		t.row("%s\t%s\t%s\t%s\t%s\t%s", in.ID, in.Member, shortDigest(in.Release), age(in.Started), age(in.Used), note)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if n := len(list.Sessions); n < list.Total {
		fmt.Fprintf(out, "%d of %d: --limit shows more\n", n, list.Total)
	}
	if list.Recounting {
		fmt.Fprintln(out, "The proxy started a short while ago: it counts sessions as they come back.")
	}
	return nil
}

// sessionVerb is a command that changes sessions by their ids.
func sessionVerb(s *shared, name, short, done string, do func(*admin.Client, context.Context, string, string) (admin.SessionInfo, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " SITE ID…", Short: short, Args: cobra.MinimumNArgs(2), ValidArgsFunction: completeWith(s, siteNames),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
		changed := []admin.SessionInfo{}
		for _, id := range args[1:] {
			in, err := do(c, cmd.Context(), args[0], id)
			if err != nil {
				return err
			}
			changed = append(changed, in)
			if !*asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "session %s on %s %s\n", id, in.Member, done)
			}
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), changed)
		}
		return nil
	})
	return cmd
}
