package client

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

func newMembersLabel(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "label MEMBER [LABEL…]", Short: "Give an application server labels, by which sites are placed", Args: cobra.MinimumNArgs(1),
		Long: `Give an application server labels, or take some with --remove. A site with

  servers = ["zone-a"]

in its portico.toml, or set by portico sites set SITE servers=zone-a, is installed on
the servers that have one of these labels, or that are called so. Its sessions stay
where they are until they end.`,
		Example: `  portico members label app-1 zone-a
  portico members label app-1 zone-b --remove zone-a --dry-run`,
		ValidArgsFunction: completeWith(s, memberNames),
	}
	remove := cmd.Flags().StringArray("remove", nil, "label to take away; may be repeated")
	dryRun := cmd.Flags().Bool("dry-run", false, "say which sites would move, and do nothing")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		name, give := args[0], args[1:]
		if len(give) == 0 && len(*remove) == 0 {
			return exitcode.Misuse(fmt.Errorf("name a label to give, such as portico members label %s zone-a, or one to take with --remove", name))
		}
		labels, err := labelsAfter(cmd, c, name, give, *remove)
		if err != nil {
			return err
		}
		if *dryRun {
			f, err := c.ForecastLabels(cmd.Context(), name, labels)
			return printForecast(cmd, f, err, *asJSON)
		}
		answer, err := c.SetLabels(cmd.Context(), name, labels)
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), answer)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s has the labels: %s\n", name, cmp.Or(strings.Join(answer.Labels, ", "), "none"))
		for _, note := range answer.Notes {
			fmt.Fprintln(cmd.OutOrStdout(), "note: "+note)
		}
		return nil
	})
	return cmd
}

// labelsAfter is what a member's labels become.
func labelsAfter(cmd *cobra.Command, c *apiclient.Client, name string, give, remove []string) ([]string, error) {
	members, err := c.Consistent().Members(cmd.Context()) // what they become is made of it
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(members, func(m api.MemberInfo) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no member %q: portico members lists them", name)
	}
	labels := append(slices.Clone(members[i].Labels), give...)
	for _, l := range remove {
		if !slices.Contains(labels, l) {
			return nil, fmt.Errorf("%s has no label %q, it has: %s", name, l, cmp.Or(strings.Join(members[i].Labels, ", "), "none"))
		}
		labels = slices.DeleteFunc(labels, func(have string) bool { return have == l })
	}
	return labels, nil
}
