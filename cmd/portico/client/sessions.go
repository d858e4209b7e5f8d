package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewSessions makes the command portico sessions.
func NewSessions(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "sessions [SITE]", Short: "Count the live sessions of each instance; list, find, end or move them",
		Long: `Count the live sessions of each instance, or list, find, end or move them.

A session is named by its id, which opens nothing. The value of its sticky cookie
names it too, and so does the application's own token (session.profile): for "end"
and "move", and with --cookie or --token for finding it.`,
		Example: `  portico sessions
  portico sessions shop --list --member server-1
  portico sessions shop --list --idle 20m
  portico sessions shop --cookie "$COOKIE"
  portico sessions end shop 8f3b2c1d00a94e57 --yes`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeWith(s, siteNames),
	}
	var q apiclient.SessionQuery
	list := cmd.Flags().Bool("list", false, "list the sessions of SITE, the most recently used first")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "with --list: at most so many")
	cmd.Flags().StringVar(&q.Member, "member", "", "list those on this application server only")
	cmd.Flags().StringVar(&q.Release, "release", "", "list those on this release only")
	cmd.Flags().StringVar(&q.Instance, "instance", "", "list those on this instance only")
	cmd.Flags().StringVar(&q.ID, "id", "", "list those whose id begins so")
	cmd.Flags().StringVar(&q.Cookie, "cookie", "", "find the session of this sticky cookie, or of a whole Cookie field")
	cmd.Flags().StringVar(&q.Token, "token", "", "find the session that the application's own token names, such as a JSESSIONID")
	cmd.Flags().DurationVar(&q.Idle, "idle", 0, "list those that were not used for this long")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		listed := *list || q.Cookie != "" || q.Token != "" || q.Member != "" || q.Release != "" || q.Instance != "" || q.ID != "" || q.Idle != 0
		switch {
		case listed && len(args) == 0:
			return exitcode.Misuse(fmt.Errorf("name the site: portico sessions SITE --list"))
		case listed:
			return listSessions(cmd, c, args[0], q, *asJSON)
		case len(args) == 1:
			return countSessions(cmd, c, args[0], *asJSON)
		}
		return countSessions(cmd, c, "", *asJSON)
	})
	cmd.AddCommand(
		sessionVerb(s, "end", "End sessions: their visitors begin anew with the next request", "ended", (*apiclient.Client).EndSession),
		sessionVerb(s, "move", "Have the next request of sessions placed on another instance", "moves with its next request", (*apiclient.Client).MoveSession))
	return cmd
}

func countSessions(cmd *cobra.Command, c *apiclient.Client, site string, asJSON bool) error {
	counts, err := c.Sessions(cmd.Context(), site)
	if err != nil {
		return err
	}
	if asJSON {
		return screen.PrintJSON(cmd.OutOrStdout(), counts)
	}
	if len(counts) == 0 && site != "" {
		if _, err := c.Site(cmd.Context(), site); err != nil {
			return err
		}
	}
	t := screen.NewTable(cmd.OutOrStdout(), "SITE\tSERVER\tRELEASE\tSTATE\tSESSIONS\tLAST 5 MIN\tLIMIT\tINSTANCE")
	var sessions, recent, visits int64
	recounting := false
	for _, n := range counts {
		recounting = recounting || n.Recounting
		if n.Unpinned {
			visits += n.Sessions
		}
		sessions, recent = sessions+n.Sessions, recent+n.Recent
		limit := "-"
		if n.Limit > 0 {
			limit = fmt.Sprint(n.Limit)
		}
		t.Row("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s", n.Site, n.Member, screen.ShortDigest(n.Release), n.State, sessionCount(n.Sessions, n.Recounting), n.Recent, limit, n.Instance)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s on %s, %d used in the last 5 minutes\n", screen.Plural(int(sessions), "session"), screen.Plural(len(counts), "instance"), recent)
	if err == nil {
		err = printRecounting(cmd.OutOrStdout(), recounting)
	}
	if err == nil && visits > 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d of them on static sites, where any other server goes on with them: no drain waits for those\n", visits)
	}
	return err
}

// recountingText is said below counts that may be too low.
const recountingText = "Recounting: a proxy started a short while ago, or does not answer. Sessions are counted as they come back: there may be more."

// sessionCount is a number of sessions in a table. printRecounting says below it what its word means.
func sessionCount[N int | int64](n N, recounting bool) string {
	if recounting {
		return fmt.Sprintf("%d recounting", n)
	}
	return fmt.Sprint(n)
}

// printRecounting explains the word where it was used.
func printRecounting(out io.Writer, recounting bool) error {
	if !recounting {
		return nil
	}
	_, err := fmt.Fprintln(out, recountingText)
	return err
}

func listSessions(cmd *cobra.Command, c *apiclient.Client, site string, q apiclient.SessionQuery, asJSON bool) error {
	list, err := c.ListSessions(cmd.Context(), site, q)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if asJSON {
		return screen.PrintJSON(out, list)
	}
	if list.Note != "" && len(list.Sessions) == 0 {
		_, err := fmt.Fprintln(out, "none: "+list.Note)
		return err
	}
	t := screen.NewTable(out, "SESSION\tSERVER\tRELEASE\tINSTANCE\tSTARTED\tIDLE\tNOTE")
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
		t.Row("%s\t%s\t%s\t%s\t%s\t%s\t%s", cmp.Or(in.ID, "-"), in.Member, screen.ShortDigest(in.Release), in.Instance, screen.Age(in.Started), screen.Age(in.Used), note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if list.Note != "" {
		fmt.Fprintln(out, list.Note)
	}
	if n := len(list.Sessions); n < list.Total {
		fmt.Fprintf(out, "%d of %d: --limit shows more\n", n, list.Total)
	}
	return printRecounting(out, list.Recounting)
}

// sessionOf finds the session that somebody names by its id, its sticky cookie, or the
// application's token.
func sessionOf(ctx context.Context, c *apiclient.Client, site, name string) (api.SessionInfo, error) {
	q, what, hint := apiclient.SessionQuery{Token: name}, "token", ""
	switch id := strings.ToLower(name); {
	case strings.ContainsAny(name, "|="):
		q, what = apiclient.SessionQuery{Cookie: name}, "cookie"
	case len(id) > 16 || strings.Trim(id, "0123456789abcdef") != "":
	case len(id) < 16:
		hint = "; an id has 16 hexadecimal digits, and --id " + id + " finds by their beginning"
	default: // a token may look like that too
		list, err := c.ListSessions(ctx, site, apiclient.SessionQuery{ID: id, Limit: 1})
		if err != nil {
			return api.SessionInfo{}, err
		}
		if len(list.Sessions) > 0 {
			return list.Sessions[0], nil
		}
		what = "id or token"
	}
	list, err := c.ListSessions(ctx, site, q)
	switch {
	case err != nil:
		return api.SessionInfo{}, err
	case len(list.Sessions) == 0 || list.Sessions[0].ID == "":
		return api.SessionInfo{}, fmt.Errorf("site %q has no session with the %s %.40q%s (%s)", site, what, name, hint, cmp.Or(list.Note, "portico sessions "+site+" --list shows which there are"))
	}
	return list.Sessions[0], nil
}

// sessionVerb is a command that changes sessions. None is changed where one cannot be found.
func sessionVerb(s *shell.Call, name, short, done string, do func(*apiclient.Client, context.Context, string, string) (api.SessionInfo, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " SITE ID|COOKIE|TOKEN…", Short: short, Args: cobra.MinimumNArgs(2), ValidArgsFunction: completeWith(s, siteNames),
	}
	asJSON := screen.JsonFlag(cmd)
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		var found []api.SessionInfo
		for _, name := range args[1:] {
			in, err := sessionOf(cmd.Context(), c, args[0], name)
			if err != nil {
				return err
			}
			found = append(found, in)
		}
		if !*yes {
			var lines []string
			for _, in := range found {
				lines = append(lines, fmt.Sprintf("session %s on %s, idle for %s: its visitor loses what the application keeps in memory", in.ID, in.Member, screen.Age(in.Used)))
			}
			if err := screen.Consent(cmd, strings.Join(lines, "\n"), fmt.Sprintf("%s %s?", name, screen.Plural(len(found), "session")), screen.WayYes, *asJSON); err != nil {
				return err
			}
		}
		changed := []api.SessionInfo{}
		for _, was := range found {
			in, err := do(c, cmd.Context(), args[0], was.ID)
			if err != nil {
				return err
			}
			changed = append(changed, in)
			if !*asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "session %s on %s %s\n", in.ID, in.Member, done)
			}
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), changed)
		}
		return nil
	})
	return cmd
}
