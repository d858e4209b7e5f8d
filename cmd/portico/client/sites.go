package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/conf"
	"portico/conf/sites"
	"portico/internal/exitcode"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewSites makes the command portico sites.
func NewSites(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "sites", Short: "List the sites; show or change the settings of one", Args: cobra.NoArgs}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		sites, err := c.Sites(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), sites)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "SITE\tKIND\tHOSTS\tPATH\tRELEASE\tINSTANCES\tSESSIONS\tUPDATED")
		for _, site := range sites {
			healthy := 0
			for _, i := range site.Instances {
				if usable(i) {
					healthy++
				}
			}
			t.Row("%s\t%s\t%s\t%s\t%s\t%d of %d\t%s\t%s", site.Name, site.Settings.Kind, hostList(site.Settings.Hosts),
				site.Settings.Path, releaseText(site), healthy, len(site.Instances), sessionCount(site.Sessions, site.Recounting), screen.Age(site.Updated))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if err := printRecounting(cmd.OutOrStdout(), slices.ContainsFunc(sites, func(s api.SiteInfo) bool { return s.Recounting })); err != nil {
			return err
		}
		for _, site := range sites {
			for _, i := range site.Instances {
				if i.Detail != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "%s %s on %s: %s\n", site.Name, screen.ShortDigest(i.Release), i.Member, i.Detail)
				}
			}
		}
		return nil
	})
	cmd.AddCommand(newSitesShow(s), newSitesSet(s))
	return cmd
}

// usable reports whether an instance answers: as the proxy sees it, which knows sooner than an
// agent that is gone can tell, else as its agent says.
func usable(i api.InstanceInfo) bool {
	if i.Upstream == "" {
		return i.State == catalog.InstanceHealthy
	}
	return strings.HasPrefix(i.Upstream, "UP") || strings.HasPrefix(i.Upstream, "DRAIN") || strings.HasPrefix(i.Upstream, "NOLB")
}

// releaseText is the release that new visitors get, or why there is none.
func releaseText(site api.SiteInfo) string {
	none := "not installed"
	if site.Candidate != "" {
		none = "being installed"
	}
	return cmp.Or(screen.ShortDigest(site.Release), none)
}

func hostList(hosts []string) string {
	if len(hosts) == 0 {
		return "any"
	}
	return strings.Join(hosts, ",")
}

func newSitesShow(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show SITE", Short: "Print everything about one site as JSON", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, siteNames),
		RunE: withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
			site, err := c.Site(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return screen.PrintJSON(cmd.OutOrStdout(), site)
		}),
	}
	screen.JsonFlag(cmd) // it always does
	return cmd
}

func newSitesSet(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set SITE KEY=VALUE …",
		Short: "Override settings of a site; KEY= goes back to what its archive says",
		Long: `Override settings of a site; KEY= goes back to what its archive says.

A change of what a process gets at its start (env, run, user, limits.memory and the
like) is a deploy of the files that run: new processes start beside the old ones,
which keep their sessions. Where they do not get healthy, nothing is changed.`,
		Example: `  portico sites set shop session.idle=1h
  portico sites set shop hosts=shop.example.com,www.example.com limits.body=256MiB
  portico sites set shop servers=zone-a
  portico sites set shop session.idle=`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: completeWith(s, siteNames),
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "say where the site would move, and do nothing")
	detach := cmd.Flags().Bool("detach", false, "do not wait for the application servers, where a change needs other processes")
	asJSON := screen.JsonFlag(cmd) // without --dry-run it always does
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		override, err := overrides(args[1:])
		if err != nil {
			return exitcode.Misuse(err)
		}
		if *dryRun {
			f, err := c.ForecastSet(cmd.Context(), args[0], override)
			return printForecast(cmd, f, err, *asJSON)
		}
		site, err := c.SetSite(cmd.Context(), args[0], override)
		if err != nil {
			return err
		}
		if site.Begun != "" {
			if site, err = settingsDeployed(cmd, c, site.Begun, *detach); err != nil {
				return err
			}
		}
		return screen.PrintJSON(cmd.OutOrStdout(), site.Override)
	})
	return cmd
}

// settingsDeployed follows the deploy that a change of settings has begun, on the error output
// since the output is the result's, and returns the site as it is then.
func settingsDeployed(cmd *cobra.Command, c *apiclient.Client, id string, detach bool) (api.SiteInfo, error) {
	d, err := c.Deploy(cmd.Context(), id)
	if err != nil {
		return api.SiteInfo{}, err
	}
	if detach {
		fmt.Fprintf(cmd.ErrOrStderr(), "deploy %s of %s has begun: portico deploys %s\n", d.ID, d.Site, d.ID)
	} else if err := follow(cmd, c, d, cmd.ErrOrStderr()); err != nil {
		return api.SiteInfo{}, err
	}
	site, err := c.Site(cmd.Context(), d.Site)
	if err != nil {
		return site, err
	}
	override, err := json.Marshal(site.Override)
	site.Override = sites.HideOverrideEnv(override)
	return site, err
}

// overrides turns KEY=VALUE pairs into the JSON object that the API takes. A
// key with a dot names a field of a section; no value takes an override away.
func overrides(pairs []string) (json.RawMessage, error) {
	object := map[string]any{}
	for _, pair := range pairs {
		key, text, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is no setting: write KEY=VALUE, such as session.idle=1h", pair)
		}
		value, err := overrideValue(key, text)
		if err != nil {
			return nil, err
		}
		in, names := object, strings.SplitN(key, ".", 2)
		for _, section := range names[:len(names)-1] {
			inner, ok := in[section].(map[string]any)
			if !ok {
				inner = map[string]any{}
				in[section] = inner
			}
			in = inner
		}
		in[names[len(names)-1]] = value
	}
	return json.Marshal(object)
}

// overrideValue reads the text as the setting's type asks, nil where there is
// none. Lists may also be written as JSON, for items that hold commas.
func overrideValue(key, text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("%s: read as JSON, because it begins with %c: %w", key, text[0], err)
		}
		return v, nil
	}
	return conf.SetPath(&sites.Settings{}, key, text)
}

// NewReleases makes the command portico releases.
func NewReleases(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "releases SITE", Short: "List the releases of a site, newest first", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, siteNames),
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		releases, err := c.Releases(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), releases)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "RELEASE\tSTATE\tARCHIVE\tFILES\tSIZE\tUPLOADED\tBY")
		for _, r := range releases {
			state := "kept"
			switch {
			case r.Current:
				state = "current"
			case r.Retiring:
				state = "retiring"
			}
			t.Row("%s\t%s\t%s\t%d\t%s\t%s\t%s", screen.ShortDigest(r.Digest), state, r.Archive, r.Files, screen.Size(r.Size), screen.Age(r.Created), r.By)
		}
		return t.Flush()
	})
	return cmd
}

// NewRemove makes the command portico remove.
func NewRemove(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove SITE", Short: "Take a site away from all application servers (its data folders stay)",
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeWith(s, siteNames),
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "say what it would cut, and do nothing")
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		if *dryRun || !*yes {
			f, err := c.ForecastRemove(cmd.Context(), args[0])
			if err != nil || *dryRun {
				return printForecast(cmd, f, err, *asJSON)
			}
			if err := screen.Consent(cmd, forecastText(f), "remove "+args[0]+"?", screen.WayDryRun, *asJSON); err != nil {
				return err
			}
		}
		if err := c.RemoveSite(cmd.Context(), args[0]); err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, map[string]string{"removed": args[0]}, "%s is removed", args[0])
	})
	return cmd
}

// NewDeploys makes the command portico deploys.
func NewDeploys(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "deploys [SITE | ID]", Short: "List the last deploys, or show one", Args: cobra.MaximumNArgs(1)}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		site := ""
		if len(args) == 1 {
			if d, err := c.Deploy(cmd.Context(), args[0]); err == nil {
				return screen.PrintJSON(cmd.OutOrStdout(), d)
			}
			site = args[0]
		}
		deploys, err := c.Deploys(cmd.Context(), site)
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), deploys)
		}
		if len(deploys) == 0 && site != "" {
			if _, err := c.Site(cmd.Context(), site); err != nil {
				return err
			}
		}
		t := screen.NewTable(cmd.OutOrStdout(), "DEPLOY\tSITE\tRELEASE\tSTATE\tBY\tAGE\tERROR")
		for _, d := range deploys {
			first, _, _ := strings.Cut(d.Error, "\n")
			t.Row("%s\t%s\t%s\t%s\t%s\t%s\t%s", d.ID, d.Site, screen.ShortDigest(d.Release), d.State, d.By, screen.Age(d.Created), first)
		}
		return t.Flush()
	})
	cmd.AddCommand(newDeploysCancel(s))
	return cmd
}

func newDeploysCancel(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel SITE", Short: "End the running deploy of a site; the release before it stays", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, siteNames),
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		d, err := c.CancelDeploy(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, d, "deploy %s of %s is cancelled", d.ID, d.Site)
	})
	return cmd
}
