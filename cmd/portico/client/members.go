package client

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewMembers makes the command portico members.
func NewMembers(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "members", Short: "List the machines of the cluster, and those that wait for acceptance", Args: cobra.NoArgs}
	turned := cmd.Flags().Bool("turned-away", false, "list the machines that were turned away lately instead, and why")
	asJSON := screen.JsonFlag(cmd)
	cmd.AddCommand(newMembersForget(s), newMembersLabel(s))
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		if *turned {
			return printTurnedAway(cmd, c, *asJSON)
		}
		members, err := c.Members(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), members)
		}
		if err := printMembers(cmd, members); err != nil {
			return err
		}
		return printOld(cmd, c.Standing(), time.Now())
	})
	return cmd
}

// oldView is from what age on a view is called old: a proxy looks each second whether it is up to date.
const oldView = 5 * time.Second

// printOld says that what was printed may be old, where it may be.
func printOld(cmd *cobra.Command, st api.Standing, now time.Time) error {
	if st.Age < oldView {
		return nil
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "\nThis may be old: the proxy that was asked has not reached the others since %s, %s ago. Ask another one.\n",
		now.Add(-st.Age).Format(time.DateTime), screen.Age(now.Add(-st.Age)))
	return err
}

func printMembers(cmd *cobra.Command, members []api.MemberInfo) error {
	shared := len(partsOf(members)) > 1
	head := "NAME\tROLE\tSTATE\tLABELS\tADDRESS\tVERSION\tSESSIONS\tKEY FINGERPRINT\tSINCE"
	if shared {
		head += "\tCATALOG"
	}
	t := screen.NewTable(cmd.OutOrStdout(), head)
	for _, m := range members {
		since := m.Decided
		if since.IsZero() {
			since = m.Knocked
		}
		row := fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", m.Name, m.Role, memberState(m), cmp.Or(strings.Join(m.Labels, ","), "-"), m.Addr, m.Version, sessionCount(m.Sessions, m.Recounting), shortKey(m.Fingerprint), screen.Age(since))
		if shared {
			row += "\t" + catalogPart(m.Catalog)
		}
		t.Row("%s", row)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := printRecounting(cmd.OutOrStdout(), slices.ContainsFunc(members, func(m api.MemberInfo) bool { return m.Recounting })); err != nil {
		return err
	}
	for _, m := range members {
		for _, x := range m.Predecessors {
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "\nold process of %s (pid %d): %s since %s\n%s", m.Name, x.PID, screen.Plural(x.Streams, "stream"), x.Since.Local().Format(time.DateTime), unheardText(x)); err != nil {
				return err
			}
		}
	}
	if !shared {
		return nil
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "\n%s\n", catalogNote(partsOf(members)))
	return err
}

// unheardText says what an old process holds up that nobody hears of.
func unheardText(x api.Predecessor) string {
	if !x.Unheard {
		return ""
	}
	return fmt.Sprintf("It has no line to the present process: drains wait until it has ended, by %s at the latest (proxy.timeouts.tunnels). kill %d there cuts its streams.\n",
		x.Until.Local().Format(time.DateTime), x.PID)
}

// shortKey is as much of a key's fingerprint as portico accept --fingerprint needs.
func shortKey(fingerprint string) string {
	return fingerprint[:min(16, len(fingerprint))]
}

func printTurnedAway(cmd *cobra.Command, c *apiclient.Client, asJSON bool) error {
	list, err := c.TurnedAway(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		return screen.PrintJSON(cmd.OutOrStdout(), list)
	}
	t := screen.NewTable(cmd.OutOrStdout(), "LAST\tTIMES\tFROM\tNAME\tWHY")
	for _, m := range list {
		t.Row("%s\t%d\t%s\t%s\t%s", screen.Age(m.At), m.Times, m.From, m.Name, m.Reason)
	}
	return t.Flush()
}

func newMembersForget(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "forget MEMBER", Short: "Remove a refused or revoked machine from the list, so that its name is free", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, memberNames),
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		if err := c.ForgetMember(cmd.Context(), args[0]); err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, map[string]string{"forgotten": args[0]}, "%s is forgotten", args[0])
	})
	return cmd
}

// memberState is one word for admission, administrative state and what gossip says.
func memberState(m api.MemberInfo) string {
	switch {
	case m.Admission != catalog.Accepted && m.Reason != "":
		return fmt.Sprintf("%s (%s)", m.Admission, m.Reason)
	case m.Admission != catalog.Accepted:
		return string(m.Admission)
	case m.Role == catalog.RoleProxy && m.Addr == "":
		return "accepted (an exported " + m.Platform + ")"
	case m.Role == catalog.RoleServer && m.Gossip != "alive":
		return string(m.Admin) + ", silent"
	}
	return string(m.Admin)
}

// NewInvite makes the command portico invite.
func NewInvite(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a one-time code that accepts the next machine by itself",
		Long: `Make a one-time code. A machine that shows it is accepted without a person:

  portico agent --join PROXY:7443 --fingerprint … --code CODE

or, with --role proxy, a further proxy, which gets every key of the cluster:

  portico proxy --join PROXY:7443 --fingerprint … --code CODE

The code works once and expires.`,
		Args: cobra.NoArgs,
	}
	expires := cmd.Flags().Duration("expires", time.Hour, "how long the code can be used")
	role := cmd.Flags().String("role", string(catalog.RoleServer), "server or proxy")
	labels := cmd.Flags().StringArray("label", nil, "label that the application server gets, for sites with servers = [LABEL]; may be repeated")
	quiet := cmd.Flags().Bool("quiet", false, "print the code alone")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		invite, err := c.Invite(cmd.Context(), catalog.Role(*role), *expires, *labels...)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		switch {
		case *asJSON:
			return screen.PrintJSON(out, invite)
		case *quiet:
			_, err = fmt.Fprintln(out, invite.Code)
			return err
		}
		a, err := s.Access()
		if err != nil {
			return err
		}
		process := "agent"
		if invite.Role == catalog.RoleProxy {
			process = "proxy"
		}
		join, err := joinAddrs(cmd, c, a.Addr)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n\nIt accepts one machine, until %s. On that machine:\n\n  portico %s --join %s --fingerprint %s --code %s\n",
			invite.Code, invite.Expires.Local().Format(time.DateTime), process, strings.Join(join, " --join "), a.Fingerprint, invite.Code)
		return err
	})
	cmd.AddCommand(newInviteList(s), newInviteRemove(s))
	return cmd
}

// joinAddrs are the addresses at which members reach the proxies: this command may go by another one,
// such as loopback. The one that it goes by comes first.
func joinAddrs(cmd *cobra.Command, c *apiclient.Client, here string) ([]string, error) {
	members, err := c.Members(cmd.Context())
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, m := range members {
		if m.Role == catalog.RoleProxy && m.Admission == catalog.Accepted && m.Addr != "" {
			addrs = append(addrs, m.Addr)
		}
	}
	slices.SortStableFunc(addrs, func(x, y string) int {
		return cmp.Compare(btoi(x != here), btoi(y != here))
	})
	if len(addrs) == 0 {
		return []string{here}, nil
	}
	return addrs, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func newInviteList(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the codes that exist, and who used one", Args: cobra.NoArgs}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		invites, err := c.Invites(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return screen.PrintJSON(cmd.OutOrStdout(), invites)
		}
		t := screen.NewTable(cmd.OutOrStdout(), "INVITE\tROLE\tBY\tMADE\tEXPIRES\tUSED BY")
		for _, i := range invites {
			t.Row("%s\t%s\t%s\t%s\t%s\t%s", i.ID, i.Role, i.By, screen.Age(i.Created), i.Expires.Local().Format(time.DateTime), cmp.Or(i.UsedBy, "-"))
		}
		return t.Flush()
	})
	return cmd
}

func newInviteRemove(s *shell.Call) *cobra.Command {
	return &cobra.Command{
		Use: "remove INVITE", Short: "Make a code worthless; the part before its dot names it", Args: cobra.ExactArgs(1),
		RunE: withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
			id, _, _ := strings.Cut(args[0], ".")
			if err := c.DeleteInvite(cmd.Context(), id); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "invite %s is worthless\n", id)
			return err
		}),
	}
}

// NewAccept makes the command portico accept.
func NewAccept(s *shell.Call) *cobra.Command {
	return memberVerb(s, verb{name: api.VerbAccept, short: "Let a waiting machine into the cluster", done: "%s is accepted: its agent installs the sites that belong on it", labels: true})
}

// NewRefuse makes the command portico refuse.
func NewRefuse(s *shell.Call) *cobra.Command {
	return memberVerb(s, verb{name: api.VerbRefuse, short: "Turn a waiting machine away", done: "%s is refused", reason: true})
}

// NewRevoke makes the command portico revoke.
func NewRevoke(s *shell.Call) *cobra.Command {
	return memberVerb(s, verb{name: api.VerbRevoke, short: "Cut a machine off for good and replace the gossip key", done: "%s is revoked", reason: true, cuts: true})
}

// NewReady makes the command portico ready.
func NewReady(s *shell.Call) *cobra.Command {
	return memberVerb(s, verb{name: api.VerbReady, short: "Let a server take sessions again", done: "%s is ready", instance: true})
}

// NewMaint makes the command portico maint.
func NewMaint(s *shell.Call) *cobra.Command {
	return memberVerb(s, verb{name: api.VerbMaint, short: "Send a server nothing; its sessions are lost", done: "%s is in maintenance", cuts: true, instance: true})
}

// verb describes one of the commands that change a member.
type verb struct {
	name, short, done string
	reason            bool // takes --reason
	labels            bool // takes --label
	instance          bool // also for one instance, named SITE/INSTANCE
	cuts              bool // cuts sessions: has --dry-run and asks, unless --yes
}

func memberVerb(s *shell.Call, v verb) *cobra.Command {
	cmd := &cobra.Command{
		Use: v.name + " MEMBER", Short: v.short, Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeWith(s, memberNames),
	}
	if v.instance {
		cmd.Use = v.name + " MEMBER | SITE/INSTANCE"
	}
	var reason string
	var dryRun, yes bool
	if v.reason {
		cmd.Flags().StringVar(&reason, "reason", "", "told to the machine and kept in the list")
	}
	var labels []string
	var fingerprint string
	if v.labels {
		cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "of the key that the machine prints, or its first 16 digits: another machine is refused")
		cmd.Flags().StringArrayVar(&labels, "label", nil, "label of the application server, for sites with servers = [LABEL]; may be repeated")
	}
	if v.cuts {
		cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what it would cut, and do nothing")
	}
	if v.cuts {
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		name := args[0]
		if dryRun || (v.cuts && !yes) {
			f, err := forecastVerb(cmd, c, name, v.name)
			if err != nil || dryRun {
				return printForecast(cmd, f, err, *asJSON)
			}
			if err := screen.Consent(cmd, forecastText(f), fmt.Sprintf("%s %s?", v.name, name), screen.WayDryRun, *asJSON); err != nil {
				return err
			}
		}
		if site, instance, ok := strings.Cut(name, "/"); ok && v.instance {
			if err := c.ActInstance(cmd.Context(), site, instance, v.name); err != nil {
				return err
			}
			return screen.PrintDone(cmd, *asJSON, map[string]string{"instance": name, "admin": v.name}, v.done, name)
		}
		act := func() (api.MemberInfo, error) { return c.Act(cmd.Context(), name, v.name, reason) }
		if v.labels {
			act = func() (api.MemberInfo, error) { return c.Accept(cmd.Context(), name, fingerprint, labels) }
		}
		m, err := act()
		if err != nil {
			return err
		}
		return screen.PrintDone(cmd, *asJSON, m, v.done, name)
	})
	return cmd
}

func forecastVerb(cmd *cobra.Command, c *apiclient.Client, name, verb string) (api.Forecast, error) {
	if site, instance, ok := strings.Cut(name, "/"); ok {
		return c.ForecastInstance(cmd.Context(), site, instance, verb)
	}
	return c.ForecastAct(cmd.Context(), name, verb)
}
