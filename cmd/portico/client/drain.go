package client

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/deployhook"
	"portico/internal/exitcode"
	"portico/membership/catalog/ids"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// NewDrain makes the command portico drain.
func NewDrain(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain [MEMBER | SITE/INSTANCE | SITE@RELEASE]",
		Short: "Send no new sessions to a server, an instance or a former release; it keeps those that it has",
		Long: `Empty an application server, one instance or a former release of its sessions.
Without a name, list what drains.

They stay until they end. With --move, those that were not used for a while are
moved with their next request; their visitors keep what the application stored
outside its memory. With --deadline, what is left then loses its instance; with
--now, at once. "portico ready" takes a server or an instance back.

--wait shows a live line and ends with the drain, or with exit code 4.`,
		Example: `  portico drain server-1 --wait 8h
  portico drain server-1 --move --quiet 10m --deadline 2h
  portico drain shop@9f2c41d07b3e --now`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeWith(s, memberNames),
	}
	var r api.DrainRequest
	move := cmd.Flags().Bool("move", false, "move quiet sessions to another instance with their next request")
	quiet := cmd.Flags().Duration("quiet", 5*time.Minute, "with --move: a session is quiet when it was not used for so long")
	cmd.Flags().StringVar(&r.Deadline, "deadline", "", "sessions that are left after this time lose their instance")
	cmd.Flags().BoolVar(&r.Now, "now", false, "cut all sessions at once; says first how many, then asks")
	wait := cmd.Flags().Duration("wait", 0, "wait until no session is left, at most this long")
	dryRun := cmd.Flags().Bool("dry-run", false, "say what it would cut, and do nothing")
	yes := cmd.Flags().Bool("yes", false, "with --now: do not ask")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		if len(args) == 0 {
			return listDrains(cmd, c, *asJSON)
		}
		switch {
		case *move && r.Now:
			return exitcode.Misuse(errors.New("--move and --now: move sessions, or cut them at once"))
		case *move:
			r.Move = quiet.String()
		case cmd.Flags().Changed("quiet"):
			return exitcode.Misuse(errors.New("--quiet says when a session moves: give --move with it"))
		}
		d := drainCommand{cmd: cmd, c: c, name: args[0], target: drainTarget(args[0]), request: r, json: *asJSON}
		if *dryRun || r.Now && !*yes {
			f, err := d.forecast()
			if err != nil || *dryRun {
				return printForecast(cmd, f, err, *asJSON)
			}
			if err := screen.Consent(cmd, forecastText(f), "cut the sessions of "+d.name+" now?", screen.WayDryRun, *asJSON); err != nil {
				return err
			}
		}
		if err := d.begin(); err != nil {
			return err
		}
		if *wait > 0 {
			return d.wait(*wait)
		}
		return d.show()
	})
	return cmd
}

// listDrains lists what drains, with what it still holds.
func listDrains(cmd *cobra.Command, c *apiclient.Client, asJSON bool) error {
	list, err := c.Drains(cmd.Context())
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case asJSON:
		return screen.PrintJSON(out, list)
	case len(list) == 0:
		_, err := fmt.Fprintln(out, "nothing drains")
		return err
	}
	t := screen.NewTable(out, "WHAT\tKIND\tSINCE\tBY\tHOW IT STANDS")
	for _, x := range list {
		t.Row("%s\t%s\t%s\t%s\t%s", x.Object, x.Kind, screen.Age(x.Since), cmp.Or(x.By, "-"), drainText(x, time.Now()))
	}
	return t.Flush()
}

// drainTarget reads MEMBER, SITE/INSTANCE or SITE@RELEASE.
func drainTarget(name string) deployhook.Target {
	if site, instance, ok := strings.Cut(name, "/"); ok {
		return deployhook.Target{Site: site, Instance: instance}
	}
	if site, release, ok := strings.Cut(name, "@"); ok {
		return deployhook.Target{Site: site, Release: release}
	}
	return deployhook.Target{Member: name}
}

// drainCommand is one call of portico drain.
type drainCommand struct {
	cmd     *cobra.Command
	c       *apiclient.Client
	name    string
	target  deployhook.Target
	request api.DrainRequest
	json    bool
}

// atOnce reports whether the drain is none: a server or an instance whose sessions
// are cut at once is in maintenance.
func (d *drainCommand) atOnce() bool { return d.request.Now && d.target.Release == "" }

func (d *drainCommand) forecast() (api.Forecast, error) {
	if d.atOnce() {
		return forecastVerb(d.cmd, d.c, d.name, api.VerbMaint)
	}
	return d.c.ForecastDrain(d.cmd.Context(), d.target, d.request)
}

func (d *drainCommand) begin() error {
	switch ctx := d.cmd.Context(); {
	case !d.atOnce():
		return d.c.Drain(ctx, d.target, d.request)
	case d.target.Member != "":
		_, err := d.c.Act(ctx, d.target.Member, api.VerbMaint, "")
		return err
	default:
		return d.c.ActInstance(ctx, d.target.Site, d.target.Instance, api.VerbMaint)
	}
}

// find returns the drain as it stands; ok is false when there is none any more.
func (d *drainCommand) find() (deployhook.Drain, bool, error) {
	list, err := d.c.Drains(d.cmd.Context())
	if err != nil {
		return deployhook.Drain{}, false, err
	}
	for _, x := range list {
		t := d.target
		same := x.Kind == deployhook.DrainMember && x.Member == t.Member ||
			x.Kind == deployhook.DrainInstance && x.Site == t.Site && t.Instance != "" && strings.HasPrefix(x.Instance, t.Instance) ||
			x.Kind == deployhook.DrainRelease && x.Site == t.Site && t.Release != "" && ids.NamesRelease(t.Release, x.Release)
		if same {
			return x, true, nil
		}
	}
	return deployhook.Drain{}, false, nil
}

// show says how the drain stands after it has begun.
func (d *drainCommand) show() error {
	x, ok, err := d.find()
	out := d.cmd.OutOrStdout()
	switch {
	case err != nil:
		return err
	case d.json && !ok: // nothing was there that could drain, or it is over
		return d.printEnded()
	case d.json:
		return screen.PrintJSON(out, x)
	case d.request.Now && d.target.Release != "":
		line := screen.NewStatusLine(out)
		defer line.Done()
		return d.over(line, outcomeSince(justNow()))
	case d.request.Now || !ok:
		fmt.Fprintf(out, "%s takes nothing any more: portico ready %s takes it back\n", d.name, d.name)
	default:
		fmt.Fprintf(out, "%s drains: %s\n", d.name, drainText(x, time.Now()))
	}
	return nil
}

// printEnded prints how the drain has ended, or what was asked for where nothing tells.
func (d *drainCommand) printEnded() error {
	o, err := d.outcome(outcomeSince(justNow()))
	if err != nil {
		return err
	}
	if o != nil {
		return screen.PrintJSON(d.cmd.OutOrStdout(), o)
	}
	return screen.PrintJSON(d.cmd.OutOrStdout(), d.nothingTold())
}

// nothingTold stands for the outcome of a drain that has left none.
func (d *drainCommand) nothingTold() map[string]any {
	return map[string]any{"object": d.name, "now": d.request.Now, "sessions": 0}
}

// names reports whether object, as the cluster writes it, is what was drained.
func (d *drainCommand) names(object string) bool {
	t := d.target
	switch {
	case t.Member != "":
		return object == t.Member
	case t.Instance != "":
		return strings.HasPrefix(object, t.Site+"/"+t.Instance)
	}
	site, release, _ := strings.Cut(object, "@")
	return site == t.Site && release != "" && (ids.NamesRelease(t.Release, release) || strings.HasPrefix(t.Release, release))
}

// drainKey is what of a drain is a change: not that time passes.
func drainKey(x deployhook.Drain) string {
	return fmt.Sprint(x.Sessions, x.InFlight, x.Lost, x.Moved, x.Recounting, x.Silent, len(x.Unheard), x.Deadline)
}

// drainText says what is left of a drain.
func drainText(x deployhook.Drain, now time.Time) string {
	lost := ""
	if x.Lost > 0 {
		lost = fmt.Sprintf("; %s: %s lost", deployhook.FailureText(x.Cause), screen.Plural(x.Lost, "session"))
	}
	if len(x.Silent) > 0 {
		lost += "; no answer from " + strings.Join(x.Silent, ", ") + ", which may have more"
	}
	recounting := x.Recounting && len(x.Silent) == 0 && len(x.Unheard) == 0 // by this proxy's own start
	for _, u := range x.Unheard {
		lost += "; " + u.Text(now)
	}
	if x.Sessions == 0 && x.InFlight == 0 {
		if recounting {
			return "no session seen since the proxy started, which is too short ago to be sure" + lost
		}
		return "no session left" + lost
	}
	text := fmt.Sprintf("%s left, %d used in the last 5 minutes", screen.Plural(x.Sessions, "session"), x.Recent)
	if recounting {
		text += ", and maybe more: the proxy started a short while ago"
	}
	if x.InFlight > 0 {
		text += fmt.Sprintf(", %s running", screen.Plural(x.InFlight, "request"))
	}
	if x.Sessions > 0 {
		text += fmt.Sprintf("; oldest idle for %s", screen.Span(x.Idlest.Std()))
	}
	text += lost
	if x.Moved > 0 {
		text += fmt.Sprintf("; %d were marked to move", x.Moved)
	}
	if x.Ends.After(now) {
		text += fmt.Sprintf("; the last one ends in %s if nobody comes back", screen.Span(x.Ends.Sub(now)))
	}
	if !x.Deadline.IsZero() {
		text += fmt.Sprintf("; deadline in %s", screen.Span(x.Remaining(now)))
	}
	return text
}
