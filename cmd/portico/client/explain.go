package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
	"portico/proxy/explain"
	"portico/proxy/recent"
)

// NewExplain makes the command portico explain.
func NewExplain(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [URL]",
		Short: "Say step by step where a request would go, and why; or what became of the last ones",
		Long: `Say step by step where a request would go now, and why. Nothing is sent.

With --recent, tell what became of requests that have ended: their steps with the
time of each, retries, and why one failed. The proxy remembers the last ones
(proxy.recent) and, for longer, those that failed. The id of a request stands in
the access log too.`,
		Example: `  portico explain https://shop.example.com/basket --cookie "$COOKIE"
  portico explain https://shop.example.com/ --from 192.0.2.7 --header 'Accept: text/html'
  portico explain --recent --site shop --errors
  portico explain --recent --id 8f3b2c1d`,
		Args: cobra.MaximumNArgs(1),
	}
	var ask api.ExplainQuery
	var q api.ExchangeQuery
	cmd.Flags().StringVar(&ask.Cookie, "cookie", "", "Cookie field of the request, or the value of the sticky cookie")
	cmd.Flags().StringVar(&ask.Method, "method", "", "method of the request (default GET)")
	cmd.Flags().StringArrayVar(&ask.Header, "header", nil, "a field of the request, \"Name: value\"; may be repeated")
	cmd.Flags().StringVar(&ask.From, "from", "", "address that the request comes from")
	recent := cmd.Flags().Bool("recent", false, "tell what became of the last requests")
	cmd.Flags().StringVar(&q.Site, "site", "", "with --recent: of this site only")
	cmd.Flags().BoolVar(&q.Failed, "errors", false, "with --recent: only those that failed, were retried or lost a session")
	cmd.Flags().StringVar(&q.ID, "id", "", "with --recent: whose id begins so")
	cmd.Flags().StringVar(&q.Client, "client", "", "with --recent: from this address")
	cmd.Flags().IntVar(&q.Limit, "limit", 10, "with --recent: at most so many")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		switch {
		case *recent && len(args) > 0:
			return exitcode.Misuse(errors.New("name a URL, or --recent: not both"))
		case *recent:
			return recentRequests(cmd, c, q, *asJSON)
		case len(args) == 0:
			return exitcode.Misuse(errors.New("name the URL that is to be explained, or --recent"))
		}
		ask.URL = args[0]
		raw, err := c.Explain(cmd.Context(), ask)
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), raw)
		}
		return printExplanation(cmd.OutOrStdout(), raw)
	})
	return cmd
}

// printExplanation prints the steps of an explanation, one a line.
func printExplanation(out io.Writer, raw json.RawMessage) error {
	var steps []explain.Step
	if err := json.Unmarshal(raw, &steps); err != nil {
		return fmt.Errorf("read explanation: %w", err)
	}
	t := screen.NewTable(out, "STEP\tRESULT\tWHY")
	for _, step := range steps {
		t.Row("%s\t%s\t%s", step.Step, step.Result, step.Detail)
	}
	return t.Flush()
}

func recentRequests(cmd *cobra.Command, c *apiclient.Client, q api.ExchangeQuery, asJSON bool) error {
	list, err := c.Exchanges(cmd.Context(), q)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if asJSON {
		return screen.PrintJSON(out, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "the proxy remembers no such request (proxy.recent says how many it keeps)")
		return err
	}
	for i := len(list) - 1; i >= 0; i-- { // the latest last, where the eye is
		if err := printExchange(out, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

func printExchange(out io.Writer, e *recent.Exchange) error {
	scheme, site := "http", "no site"
	if e.TLS {
		scheme = "https"
	}
	if e.Site != "" {
		site = "site " + e.Site
	}
	if e.Instance != "" {
		site += " on " + e.Instance
	}
	mark := ""
	switch {
	case e.Failed:
		mark = "  FAILED"
	case e.Lost != "":
		mark = "  SESSION LOST"
	case e.Retries > 0:
		mark = "  RETRIED"
	}
	fmt.Fprintf(out, "%s  %s %s://%s%s  %d in %.1f ms%s\n", e.Time.Local().Format(time.DateTime+".000"), e.Method, scheme, e.Host, e.Path, e.Status, e.Total, mark)
	fmt.Fprintf(out, "  id %s, from %s, %s, %s, ended %s\n", e.ID, e.Client, e.Proto, site, e.End)
	for _, s := range e.Steps {
		fmt.Fprintf(out, "  %10.3f ms  %-15s %s\n", s.At, s.Step, s.Text)
	}
	_, err := fmt.Fprintln(out)
	return err
}
