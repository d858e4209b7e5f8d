package client

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewAccount makes the command portico account.
func NewAccount(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "account", Short: "List, add, change and remove accounts", Args: cobra.NoArgs}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		accounts, err := c.Accounts(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), accounts)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "ACCOUNT\tROLE\tSITES\tPASSWORD\tSTATE\tSINCE")
		for _, a := range accounts {
			sites, login, state := "all", "no", "active"
			if len(a.Sites) > 0 {
				sites = strings.Join(a.Sites, ",")
			}
			if a.Login {
				login = "yes"
			}
			if a.Disabled {
				state = "disabled"
			}
			t.Row("%s\t%s\t%s\t%s\t%s\t%s", a.Name, a.Role, sites, login, state, screen.Age(a.Created))
		}
		return t.Flush()
	})
	cmd.AddCommand(newAccountPut(s, "add", "Add an account"), newAccountPut(s, "set", "Change an account"), newAccountRemove(s))
	return cmd
}

func newAccountPut(s *shell.Call, name, short string) *cobra.Command {
	cmd := &cobra.Command{Use: name + " ACCOUNT", Short: short, Args: cobra.ExactArgs(1)}
	role := cmd.Flags().String("role", "", "viewer, deployer, operator or admin")
	sites := cmd.Flags().StringSlice("site", nil, "a deployer's scope, may be repeated (default: all sites)")
	file := cmd.Flags().String("password-file", "", "file with the password on its first line")
	ask := cmd.Flags().Bool("password", false, "ask for a password")
	confirm := cmd.Flags().String("confirm-file", "", "file with your own password on its first line, where your login ends by itself (default: ask)")
	disabled := cmd.Flags().Bool("disabled", false, "close the account without removing it")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		r := api.AccountRequest{Name: args[0], Role: catalog.AccountRole(*role)}
		if cmd.Flags().Changed("site") {
			r.Sites = sites
		}
		if cmd.Flags().Changed("disabled") {
			r.Disabled = disabled
		}
		if *file != "" || *ask {
			var err error
			if r.Password, err = screen.Password(cmd, *file); err != nil {
				return err
			}
		}
		a, err := c.PutAccount(cmd.Context(), r)
		var refused *refusal.Error
		if errors.As(err, &refused) && refused.Code == "confirm" {
			if *confirm == "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "Your login ends by itself, and an account lasts: your own password, please.")
			}
			if r.Confirm, err = screen.Password(cmd, *confirm); err != nil {
				return err
			}
			a, err = c.PutAccount(cmd.Context(), r)
		}
		if err != nil {
			return err
		}
		if err := screen.PrintDone(cmd, *asJSON, a, "%s is %s", a.Name, a.Role); err != nil {
			return err
		}
		if name == "add" && r.Password == "" && !*asJSON {
			fmt.Fprintf(cmd.OutOrStdout(), "it has no password, so it cannot log in: portico account set %s --password\n", a.Name)
		}
		return nil
	})
	return cmd
}

func newAccountRemove(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "remove ACCOUNT", Short: "Remove an account and its tokens", Args: cobra.ExactArgs(1)}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		if err := c.DeleteAccount(cmd.Context(), args[0]); err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, map[string]string{"removed": args[0]}, "%s is removed", args[0])
	})
	return cmd
}

// NewToken makes the command portico token.
func NewToken(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "List, make and end tokens", Args: cobra.NoArgs}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		tokens, err := c.Tokens(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), tokens)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "TOKEN\tACCOUNT\tLABEL\tMADE\tEXPIRES")
		for _, token := range tokens {
			expires := "never"
			if !token.Expires.IsZero() {
				expires = token.Expires.Local().Format("2006-01-02 15:04")
			}
			t.Row("%s\t%s\t%s\t%s\t%s", token.ID, token.Account, token.Label, screen.Age(token.Created), expires)
		}
		return t.Flush()
	})
	cmd.AddCommand(newTokenAdd(s), newTokenRemove(s))
	return cmd
}

func newTokenAdd(s *shell.Call) *cobra.Command {
	var r api.TokenRequest
	cmd := &cobra.Command{
		Use: "add", Short: "Make a token; it is shown once", Args: cobra.NoArgs,
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		token, err := c.NewToken(cmd.Context(), r)
		if err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, token, "%s", token.Token)
	})
	cmd.Flags().StringVar(&r.Account, "account", "", "whose it is (default: your own)")
	cmd.Flags().StringVar(&r.Label, "label", "", "what it is for")
	cmd.Flags().StringVar(&r.TTL, "expires", "", "how long it can be used, such as 90d (default: as long as your own token)")
	return cmd
}

func newTokenRemove(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "remove TOKEN", Short: "End a token at once, and those that it made", Args: cobra.ExactArgs(1)}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		ended, err := c.DeleteToken(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if more := len(ended.Ended) - 1; more > 0 {
			return screen.PrintDone(cmd, *asJSON, ended, "%s is ended, and %d that it made", args[0], more)
		}
		return screen.PrintDone(cmd, *asJSON, ended, "%s is ended", args[0])
	})
	return cmd
}
