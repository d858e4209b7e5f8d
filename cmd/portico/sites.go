package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/admin"
)

func newSites(s *shared) *cobra.Command {
	cmd := &cobra.Command{Use: "sites", Short: "List the sites; show or change the settings of one", Args: cobra.NoArgs}
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		sites, err := c.Sites(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), sites)
		}
		t := newTable(cmd.OutOrStdout(), "SITE\tKIND\tHOSTS\tPATH\tRELEASE\tINSTANCES\tSESSIONS\tUPDATED")
		for _, site := range sites {
			healthy := 0
			for _, i := range site.Instances {
				if usable(i) {
					healthy++
				}
			}
			t.row("%s\t%s\t%s\t%s\t%s\t%d of %d\t%d\t%s", site.Name, site.Settings.Kind, hostList(site.Settings.Hosts),
				site.Settings.Path, releaseText(site), healthy, len(site.Instances), site.Sessions, age(site.Updated))
		}
		if err := t.flush(); err != nil {
			return err
		}
		for _, site := range sites {
			for _, i := range site.Instances {
				if i.Detail != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "%s %s on %s: %s\n", site.Name, shortDigest(i.Release), i.Member, i.Detail)
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
func usable(i admin.InstanceInfo) bool {
	if i.Upstream == "" {
		return i.State == catalog.InstanceHealthy
	}
	return strings.HasPrefix(i.Upstream, "UP") || strings.HasPrefix(i.Upstream, "DRAIN") || strings.HasPrefix(i.Upstream, "NOLB")
}

// releaseText is the release that new visitors get, or why there is none.
func releaseText(site admin.SiteInfo) string {
	none := "not installed"
	if site.Candidate != "" {
		none = "being installed"
	}
	return cmp.Or(shortDigest(site.Release), none)
}

func hostList(hosts []string) string {
	if len(hosts) == 0 {
		return "any"
	}
	return strings.Join(hosts, ",")
}

func newSitesShow(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show SITE", Short: "Print everything about one site as JSON", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, siteNames),
		RunE: withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
			site, err := c.Site(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), site)
		}),
	}
	jsonFlag(cmd) // it always does
	return cmd
}

func newSitesSet(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set SITE KEY=VALUE …",
		Short: "Override settings of a site; KEY= goes back to what its archive says",
		Example: `  portico sites set shop session.idle=1h
  portico sites set shop hosts=shop.example.com,www.example.com limits.body=256MiB
  portico sites set shop session.idle=`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: completeWith(s, siteNames),
		RunE: withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
			override, err := overrides(args[1:])
			if err != nil {
				return usageError{err}
			}
			site, err := c.SetSite(cmd.Context(), args[0], override)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), site.Override)
		}),
	}
	jsonFlag(cmd) // it always does
	return cmd
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
	return conf.SetPath(&catalog.Settings{}, key, text)
}

func newReleases(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "releases SITE", Short: "List the releases of a site, newest first", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, siteNames),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
		releases, err := c.Releases(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), releases)
		}
		t := newTable(cmd.OutOrStdout(), "RELEASE\tSTATE\tARCHIVE\tFILES\tSIZE\tUPLOADED\tBY")
		for _, r := range releases {
			state := "kept"
			switch {
			case r.Current:
				state = "current"
			case r.Retiring:
				state = "retiring"
			}
			t.row("%s\t%s\t%s\t%d\t%s\t%s\t%s", shortDigest(r.Digest), state, r.Archive, r.Files, size(r.Size), age(r.Created), r.By)
		}
		return t.flush()
	})
	return cmd
}

func newRemove(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove SITE", Short: "Take a site away from all application servers (its data folders stay)",
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeWith(s, siteNames),
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "say what it would cut, and do nothing")
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
		if *dryRun || !*yes {
			f, err := c.ForecastRemove(cmd.Context(), args[0])
			if err != nil || *dryRun {
				return printForecast(cmd, f, err, *asJSON)
			}
			if err := consent(cmd, forecastText(f), "remove "+args[0]+"?", wayDryRun, *asJSON); err != nil {
				return err
			}
		}
		if err := c.RemoveSite(cmd.Context(), args[0]); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"removed": args[0]})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is removed\n", args[0])
		return nil
	})
	return cmd
}

func newDeploys(s *shared) *cobra.Command {
	cmd := &cobra.Command{Use: "deploys [SITE | ID]", Short: "List the last deploys, or show one", Args: cobra.MaximumNArgs(1)}
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
		site := ""
		if len(args) == 1 {
			if d, err := c.Deploy(cmd.Context(), args[0]); err == nil {
				return printJSON(cmd.OutOrStdout(), d)
			}
			site = args[0]
		}
		deploys, err := c.Deploys(cmd.Context(), site)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), deploys)
		}
		if len(deploys) == 0 && site != "" {
			if _, err := c.Site(cmd.Context(), site); err != nil {
				return err
			}
		}
		t := newTable(cmd.OutOrStdout(), "DEPLOY\tSITE\tRELEASE\tSTATE\tBY\tAGE\tERROR")
		for _, d := range deploys {
			first, _, _ := strings.Cut(d.Error, "\n")
			t.row("%s\t%s\t%s\t%s\t%s\t%s\t%s", d.ID, d.Site, shortDigest(d.Release), d.State, d.By, age(d.Created), first)
		}
		return t.flush()
	})
	cmd.AddCommand(newDeploysCancel(s))
	return cmd
}

func newDeploysCancel(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel SITE", Short: "End the running deploy of a site; the release before it stays", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, siteNames),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
		d, err := c.CancelDeploy(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), d)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "deploy %s of %s is cancelled\n", d.ID, d.Site)
		return err
	})
	return cmd
}

func newLogs(s *shared) *cobra.Command {
	var q admin.LogQuery
	cmd := &cobra.Command{
		Use: "logs SITE", Short: "Print what a site's processes wrote, from all application servers",
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeWith(s, siteNames),
		RunE: withClient(s, func(cmd *cobra.Command, c *admin.Client, args []string) error {
			q.Site = args[0]
			err := c.Logs(cmd.Context(), q, cmd.OutOrStdout())
			if q.Follow && cmd.Context().Err() != nil {
				return nil // which is how it ends
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&q.Member, "member", "", "of this application server only")
	cmd.Flags().IntVar(&q.Lines, "lines", 100, "the last lines of each instance")
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on until Ctrl-C")
	return cmd
}
