// Command portico is the front door of a cluster of application servers: the
// proxy, the agent, and the commands that speak to them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"portico/cmd/portico/client"
	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/cmd/portico/start"
	"portico/deployhook/agent/process"
	"portico/internal/exitcode"
	"portico/internal/nearest"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// shimCommand is the first argument with which the agent starts this program
// to become a site's process.
const shimCommand = "__run"

func main() {
	// A site's process begins as this program, which lays down its rights and
	// then becomes the site's own. It must not look at anything else before.
	if len(os.Args) > 1 && os.Args[1] == shimCommand {
		os.Exit(process.Shim(os.Args[2:], os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(environ)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitcode.Done
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = screen.Interrupted(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = screen.Late(err)
	}
	if wantsJSON(cmd, args) {
		_ = screen.PrintJSON(stderr, map[string]refusal.Error{"error": asError(err)})
		return exitCode(err)
	}
	fmt.Fprintln(stderr, "portico:", catalog.Text(err))
	var h interface{ Hint() string }
	switch {
	case errors.As(err, &h) && h.Hint() != "":
		fmt.Fprintln(stderr, h.Hint())
	case errors.Is(err, syscall.ENOSPC), strings.HasSuffix(err.Error(), syscall.ENOSPC.Error()): // not every library keeps the error itself
		fmt.Fprintln(stderr, "The disk is full: make room on the file system of the path above, then run this again. Nothing else is wrong.")
	}
	return exitCode(err)
}

// wantsJSON reports whether the command was asked for JSON, also where its flags could not be read.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if f := cmd.Flags().Lookup("json"); f == nil {
		return false
	} else if f.Changed {
		return f.Value.String() == "true"
	}
	return slices.Contains(args, "--json")
}

// asError is err as the API would tell it, for programs that call this one with --json.
func asError(err error) refusal.Error {
	var told *refusal.Error
	if away := (*apiclient.Away)(nil); errors.As(err, &told) && !errors.As(err, &away) {
		e := *told
		e.Message = strings.TrimSuffix(catalog.Text(err), " ("+e.Hint+")") // with what the command was doing
		return e
	}
	e := refusal.Error{Code: "failed", Message: catalog.Text(err)}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		e.Hint = h.Hint()
	}
	var d *client.DeployError
	var u *screen.Unasked
	switch code := exitCode(err); {
	case errors.As(err, &u):
		e.Code = "unasked"
	case errors.As(err, &d):
		e.Code = "deploy_failed"
	case code == exitcode.Usage:
		e.Code = "usage"
	case code == exitcode.TimedOut:
		e.Code = "timeout"
	}
	return e
}

func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	var told *refusal.Error
	var away *apiclient.Away
	switch {
	case errors.As(err, &away):
		return exitcode.TimedOut
	case errors.As(err, &told) && told.Code == "bad_manifest": // as where the command itself has seen it
		return exitcode.Usage
	case strings.HasPrefix(err.Error(), "unknown command"): // cobra's own, without a type
		return exitcode.Usage
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return api.ExitCode(err)
}

func newRoot(environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "portico",
		Short: "The front door of a cluster of application servers",
		Long: `portico is the front door of a cluster of application servers.

Try it:            portico up
Run a front door:  portico proxy
Add a server:      portico agent --join PROXY:7443 --fingerprint sha256:…
Install a site:    portico deploy shop ./folder`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       buildVersion(),
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exitcode.Misuse(fmt.Errorf("%s (see %s --help)", flagText(cmd, err), cmd.CommandPath()))
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	s := &shell.Call{Version: buildVersion(), Environ: environ}
	root.PersistentFlags().StringVar(&s.Dir, "dir", "", "state folder (default /var/lib/portico, ./portico-data for up; PORTICO_DIR)")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "site", Title: "Sites:"},
		&cobra.Group{ID: "member", Title: "Members:"},
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "keep", Title: "Access and safekeeping:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			checkArgs(c)
			root.AddCommand(c)
		}
	}
	add("run", start.NewUp(s), start.NewProxy(s), start.NewAgent(s), start.NewCheck(s))
	add("site", client.NewDeploy(s), client.NewSites(s), client.NewReleases(s), client.NewRollback(s), client.NewRemove(s), client.NewLogs(s), client.NewDeploys(s), client.NewHosts(s))
	add("member", client.NewMembers(s), client.NewInvite(s), client.NewAccept(s), client.NewRefuse(s), client.NewRevoke(s), client.NewDrain(s), client.NewReady(s), client.NewMaint(s))
	add("look", client.NewStats(s), client.NewTop(s), client.NewSessions(s), client.NewExplain(s), client.NewExport(s), client.NewAudit(s))
	add("keep", client.NewLogin(s), client.NewAccount(s), client.NewToken(s), client.NewKeys(s), client.NewBackup(s), client.NewRestore(s))
	add("", start.NewDemoSite(), newVersion())
	addExamples(root)
	return root
}

// checkArgs turns a wrong number of arguments into a usage error that shows the usage line.
func checkArgs(c *cobra.Command) {
	check := c.Args
	if check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				if !strings.HasPrefix(err.Error(), "unknown command") { // cobra counts "arg(s)"
					err = fmt.Errorf("wrong number of arguments: %d", len(args))
				}
				return exitcode.Misuse(fmt.Errorf("%w\nusage: %s", err, cmd.UseLine()+subcommands(cmd)))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}

// subcommands names what may follow a command that works alone as well.
func subcommands(c *cobra.Command) string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " | " + c.CommandPath() + " " + strings.Join(names, "|") + " …"
}

// meantFlag names the flag that was probably meant, nothing where none is near.
func meantFlag(cmd *cobra.Command, word string) string {
	word, _, _ = strings.Cut(word, "=")
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near, ok := nearest.Word(word, names); ok {
		return ", did you mean --" + near + "?"
	}
	return ""
}

// flagText says what is wrong with a flag, without the words of the library that read it.
func flagText(cmd *cobra.Command, err error) string {
	if word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		return err.Error() + meantFlag(cmd, word)
	}
	text, why, ok := strings.Cut(err.Error(), " flag: strconv.Parse")
	if before, _, duration := strings.Cut(err.Error(), " flag: time: "); duration {
		return before + ": write a number with a unit, such as 30s, 10m or 8h"
	}
	switch {
	case !ok:
		return err.Error()
	case strings.HasPrefix(why, "Bool"):
		return text + ": it takes no value, or =true or =false"
	case strings.Contains(why, "out of range"):
		return text + ": the number is too large"
	}
	return text + ": a number is wanted"
}
