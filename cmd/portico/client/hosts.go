package client

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewHosts makes the command portico hosts.
func NewHosts(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "hosts", Short: "List who has which hosts; share one, or give it to another site", Args: cobra.NoArgs,
		Long: `List the hosts of all sites and whose they are.

A host belongs to the site that had it first, and with a wildcard all names that
it covers. A site of another account gets it only by an operator's word:
"portico hosts share HOST SITE" lets SITE name it in its hosts, with a path of its
own. The host '*' stands for what sites without hosts answer on. Names of the
admin page are no site's.`,
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		hosts, err := c.Hosts(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), hosts)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "HOST\tPATH\tSITE\tOWNER\tSHARED\tCERTIFICATE")
		for _, h := range hosts {
			certificate := "-"
			if h.Certificate != nil {
				certificate = h.Certificate.Text(time.Now())
			}
			t.Row("%s\t%s\t%s\t%s\t%s\t%s", h.Host, cmp.Or(h.Path, "-"), cmp.Or(h.Site, "-"), hostOwner(h), hostShare(h), certificate)
		}
		return t.Flush()
	})
	cmd.AddCommand(
		newHostVerb(s, "share", "Let a site have a host beside the sites of other accounts", "%s may name %s in its hosts"),
		newHostVerb(s, "unshare", "Take back what share gave; a site that has the host by it loses it", "%s may not have %s any more"),
		newHostVerb(s, "move", "Give a host to a site, and take it from those that have it", "%s has %s now"),
	)
	return cmd
}

func newHostVerb(s *shell.Call, verb, short, done string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " HOST SITE", Short: short, Args: cobra.ExactArgs(2)}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		hosts, err := c.ChangeHost(cmd.Context(), verb, args[0], args[1])
		if err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, hosts, done, args[1], args[0])
	})
	return cmd
}

// hostOwner says whose a host is.
func hostOwner(h api.HostInfo) string {
	switch {
	case h.Proxy != "" && h.Site == "":
		return "admin page of " + h.Proxy
	case h.Proxy != "":
		return "file of " + h.Proxy
	}
	return cmp.Or(h.Owner, "-")
}

// hostShare says by whose word a site has a host, and beside whose sites.
func hostShare(h api.HostInfo) string {
	if h.SharedBy == "" {
		return "-"
	}
	return fmt.Sprintf("by %s, beside %s", h.SharedBy, strings.Join(h.Beside, ","))
}
