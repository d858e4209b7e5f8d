package client

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewKeys makes the command portico keys.
func NewKeys(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "List the ages of the keys that members share; replace one", Args: cobra.NoArgs}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		keys, err := c.Keys(cmd.Context())
		if err != nil {
			return err
		}
		return printKeys(cmd, keys, *asJSON)
	})
	cmd.AddCommand(newKeysRotate(s))
	return cmd
}

func newKeysRotate(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate session|tickets|gossip", Short: "Replace the key that seals session cookies or TLS tickets, or the one that encrypts gossip",
		Long: `Replace a key that the members share.

session  seals the sticky cookies. Every proxy knows the fresh key ten minutes
         before it is used, and the one before opens cookies for as long as they
         can be of use (a day or more), so nobody loses a session. Until then
         another rotation is refused.
tickets  seal TLS session tickets. They change by themselves (tls.tickets); this
         makes every ticket worthless that was handed out before. Nobody loses a
         session: each visitor's next connection shakes hands in full.
gossip   encrypts the gossip. Members fetch the new one over mutual TLS.`,
		Args: cobra.ExactArgs(1), ValidArgs: []string{api.KeySession, api.KeyTickets, api.KeyGossip},
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		keys, err := c.RotateKey(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printKeys(cmd, keys, *asJSON)
	})
	return cmd
}

func printKeys(cmd *cobra.Command, keys []api.KeyInfo, asJSON bool) error {
	if asJSON {
		return screen.PrintJSON(cmd.OutOrStdout(), keys)
	}
	t := screen.NewTable(cmd.OutOrStdout(), "KEY\tID\tAGE\tUSE")
	for _, k := range keys {
		use, id := "opens what it sealed before", "-"
		switch {
		case k.Primary:
			use = "in use"
		case k.Next && !k.From.IsZero():
			use = "known everywhere before it is used, from " + k.From.Local().Format(time.DateTime)
		case k.Next:
			use = "known everywhere before it is used"
		case !k.Until.IsZero():
			use += ", until " + k.Until.Local().Format(time.DateTime)
		}
		if k.ID > 0 {
			id = fmt.Sprint(k.ID)
		}
		t.Row("%s\t%s\t%s\t%s", k.Kind, id, screen.Age(k.Created), use)
	}
	return t.Flush()
}
