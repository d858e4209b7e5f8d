package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/conf/sites"
	"portico/deployhook"
	"portico/deployhook/archive"
	"portico/deployhook/upload"
	"portico/internal/exitcode"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// ManifestName is the file at the root of an archive that describes the site.
const ManifestName = "portico.toml"

// NewDeploy makes the command portico deploy.
func NewDeploy(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy SITE PATH",
		Short: "Install a folder or an archive as a site on all application servers",
		Long: `Install a folder or an archive (zip, war, tar, tar.gz, tar.zst) as a site.

The site appears on every application server, also on those that join later.
Visitors of the former release stay on it until their sessions end; new visitors
get the new one. A release that does not get healthy changes nothing.`,
		Args: cobra.ExactArgs(2),
	}
	var u apiclient.Upload
	cmd.Flags().StringSliceVar(&u.Hosts, "host", nil, "host name of the site, may be repeated (default: as in portico.toml)")
	cmd.Flags().StringVar(&u.Path, "path", "", "mount path (default: as in portico.toml, else /)")
	dryRun := cmd.Flags().Bool("dry-run", false, "check the archive, say what the deploy would do to sessions, and do nothing")
	noPin := cmd.Flags().Bool("no-pin", false, "cut the sessions of the release before once this one is in rotation; says first how many, then asks")
	yes := cmd.Flags().Bool("yes", false, "do not ask: neither because of --no-pin, nor when memory is short")
	detach := cmd.Flags().Bool("detach", false, "do not wait for the application servers")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		u.Site = args[0]
		source, err := openSource(cmd.Context(), args[1])
		if err != nil {
			return err
		}
		source.fill(&u)
		u.Query = url.Values{}
		if *dryRun {
			u.Query.Set("dry_run", "1")
		}
		if *noPin {
			u.Query.Set("no_pin", "1")
		}
		var f api.Forecast
		if !*dryRun {
			f, err = c.ForecastDeploy(cmd.Context(), u.Site, *noPin)
			if err := foretold(cmd, f, err, "deploy "+u.Site, *noPin, *yes, *asJSON); err != nil {
				return err
			}
		}
		answer, err := uploadArchive(cmd, c, u, *asJSON)
		if err != nil {
			return err
		}
		if !*asJSON {
			answer.Notes = slices.DeleteFunc(answer.Notes, func(note string) bool { return said(f.Notes, note) })
			printArchive(cmd.OutOrStdout(), u.Site, answer)
		}
		if *dryRun {
			return finishDryRun(cmd, answer, *asJSON)
		}
		return finishDeploy(cmd, c, answer.Deploy, *detach, *asJSON)
	})
	return cmd
}

// NewRollback makes the command portico rollback.
func NewRollback(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback SITE [RELEASE]", Short: "Go back to a former release (the one before, unless named)",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: completeWith(s, siteNames),
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "say what it would do to sessions, and do nothing")
	noPin := cmd.Flags().Bool("no-pin", false, "cut the sessions of the present release once the other is in rotation; says first how many, then asks")
	yes := cmd.Flags().Bool("yes", false, "do not ask: neither because of --no-pin, nor when memory is short")
	detach := cmd.Flags().Bool("detach", false, "do not wait for the application servers")
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, args []string) error {
		release := ""
		if len(args) == 2 {
			release = args[1]
		}
		f, err := c.ForecastRollback(cmd.Context(), args[0], release, *noPin)
		if *dryRun {
			return printForecast(cmd, f, err, *asJSON)
		}
		if err := foretold(cmd, f, err, "roll "+args[0]+" back", *noPin, *yes, *asJSON); err != nil {
			return err
		}
		d, err := c.Rollback(cmd.Context(), args[0], release, *noPin)
		if err != nil {
			return err
		}
		return finishDeploy(cmd, c, d, *detach, *asJSON)
	})
	return cmd
}

// source is what a deploy uploads.
type source struct {
	name string
	size int64 // -1: not known before it is packed
	open func() (io.ReadCloser, error)
}

func (src source) fill(u *apiclient.Upload) { u.Name, u.Size, u.Open = src.name, src.size, src.open }

// openSource looks at path: a folder is packed on the way, a file is sent as it is.
func openSource(ctx context.Context, path string) (source, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return source{}, exitcode.Misuse(fmt.Errorf("%s does not exist: name a folder or an archive", path))
	}
	if err != nil {
		return source{}, fmt.Errorf("open %s: %w", path, err)
	}
	if !info.IsDir() {
		return source{name: filepath.Base(path), size: info.Size(), open: func() (io.ReadCloser, error) { return os.Open(path) }}, nil
	}
	exclude, err := manifestExclude(path)
	if err != nil {
		return source{}, err
	}
	folder, err := archive.OpenFolder(path, exclude, archive.Limits{})
	if err != nil {
		return source{}, exitcode.Misuse(err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, fmt.Errorf("open %s: %w", path, err)
	}
	return source{name: filepath.Base(abs) + ".tar.zst", size: -1, open: func() (io.ReadCloser, error) { return PackFolder(ctx, folder), nil }}, nil
}

// PackFolder packs in the background into a pipe: no temporary file, and the
// upload starts at once.
func PackFolder(ctx context.Context, folder *archive.Folder) io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(folder.Write(ctx, w, archive.TarZstd, nil)) }()
	return r
}

// manifestExclude returns what the folder's portico.toml leaves out. The proxy
// judges the rest of the file.
func manifestExclude(folder string) ([]string, error) {
	path := filepath.Join(folder, ManifestName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	var settings sites.Settings
	if err := upload.DecodeManifest(path, data, &settings); err != nil {
		return nil, exitcode.Misuse(err)
	}
	return settings.Exclude, nil
}

func uploadArchive(cmd *cobra.Command, c *apiclient.Client, u apiclient.Upload, quiet bool) (deployhook.ArchiveAnswer, error) {
	line := screen.NewStatusLine(cmd.OutOrStdout())
	if !quiet && line.Tty {
		var p screen.Pace
		u.Progress = func(sent, total int64) {
			p.Take(sent, time.Now())
			if total > 0 {
				line.Set("uploading %s  %s of %s%s", u.Name, screen.Size(sent), screen.Size(total), p.Text(total))
			} else {
				line.Set("uploading %s  %s%s", u.Name, screen.Size(sent), p.Text(0))
			}
		}
	}
	d, err := c.Upload(cmd.Context(), u)
	line.Done()
	return d, err
}

// printArchive says what was uploaded and how it differs from what runs.
func printArchive(out io.Writer, site string, a deployhook.ArchiveAnswer) {
	fmt.Fprintf(out, "uploaded and unpacked: release %s of %s, %s, %s", screen.ShortDigest(a.Release), site, screen.Plural(a.Files, "file"), screen.Size(a.Size))
	switch {
	case a.Same:
		fmt.Fprint(out, "; it runs already")
	case a.Changed < a.Files:
		fmt.Fprintf(out, "; %d changed, %s to ship", a.Changed, screen.Size(a.Ships))
	}
	fmt.Fprintln(out)
	for _, note := range a.Notes {
		fmt.Fprintln(out, "note:", note)
	}
}

func finishDryRun(cmd *cobra.Command, a deployhook.ArchiveAnswer, asJSON bool) error {
	if asJSON {
		return screen.PrintJSON(cmd.OutOrStdout(), a)
	}
	out := cmd.OutOrStdout()
	if a.Cuts > 0 {
		_, err := fmt.Fprintf(out, "dry run: nothing was changed; %s would lose their instance\n", screen.Plural(a.Cuts, "session"))
		return err
	}
	if a.Keeps == 0 { // nor of a site that is new
		_, err := fmt.Fprintln(out, "dry run: nothing was changed; no session is concerned")
		return err
	}
	_, err := fmt.Fprintf(out, "dry run: nothing was changed; %s would stay on the present release until they end\n", screen.Plural(a.Keeps, "session"))
	return err
}

// said reports whether a warning was given before. That a server's memory is short is one
// and the same warning, though the number in it changes from one moment to the next.
func said(before []string, note string) bool {
	server, _, short := strings.Cut(note, " has ")
	short = short && strings.Contains(note, " of memory free")
	return slices.ContainsFunc(before, func(old string) bool {
		return old == note || short && strings.HasPrefix(old, server+" has ") && strings.Contains(old, " of memory free")
	})
}

// foretold says before a deploy or a rollback what ought to be known: which sessions it
// cuts, and where memory is short. It asks where somebody can answer; a script that
// cuts sessions has to say --yes, one that meets short memory goes on.
func foretold(cmd *cobra.Command, f api.Forecast, err error, what string, noPin, yes, asJSON bool) error {
	if err != nil {
		return err
	}
	for _, note := range f.Notes {
		warn(cmd, asJSON, note)
	}
	message := ""
	if noPin {
		message = f.Message
	}
	switch {
	case yes || noPin && f.Sessions == 0 && len(f.Notes) == 0 && !f.Recounting, !noPin && (len(f.Notes) == 0 || asJSON || !screen.IsTerminal(cmd.InOrStdin())):
		if message != "" && !asJSON {
			fmt.Fprintln(cmd.OutOrStdout(), message)
		}
		return nil
	case noPin:
		return screen.Consent(cmd, message, what+" with --no-pin?", screen.WayDryRun, asJSON)
	}
	return screen.Consent(cmd, "", what+" all the same?", screen.WayYes, asJSON)
}

// warn tells what ought to be known and hinders nothing; with --json an object on a line of
// the error output, since the output is the result's alone.
func warn(cmd *cobra.Command, asJSON bool, note string) {
	if asJSON {
		_ = json.NewEncoder(cmd.ErrOrStderr()).Encode(map[string]string{"warning": note})
		return
	}
	fmt.Fprintln(cmd.OutOrStdout(), "warning:", note)
}

func printForecast(cmd *cobra.Command, f api.Forecast, err error, asJSON bool) error {
	if err != nil {
		return err
	}
	if asJSON {
		return screen.PrintJSON(cmd.OutOrStdout(), f)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), forecastText(f))
	return err
}

// forecastText is a forecast for people, its notes on lines of their own.
func forecastText(f api.Forecast) string {
	text := f.Message
	for _, note := range f.Notes {
		text += "\nnote: " + note
	}
	return text
}

// finishDeploy follows a deploy to its end and turns its outcome into the
// command's.
func finishDeploy(cmd *cobra.Command, c *apiclient.Client, d catalog.Deploy, detach, asJSON bool) error {
	out := cmd.OutOrStdout()
	if d.ID == "" || detach {
		if asJSON {
			return screen.PrintJSON(out, d)
		}
		if d.ID != "" {
			fmt.Fprintf(out, "deploy %s of %s has begun: portico deploys %s\n", d.ID, d.Site, d.ID)
		}
		return nil
	}
	if !asJSON {
		if err := follow(cmd, c, d, out); err != nil {
			return err
		}
		return printURLs(cmd, c, d.Site)
	}
	d, err := watchDeploy(cmd, c, d, waitAlong(screen.TellAwayJSON(cmd, goesOn(d))), func(messages.Event) error { return nil })
	if err != nil {
		return err
	}
	if err := screen.PrintJSON(out, d); err != nil {
		return err
	}
	return DeployOutcome(out, d, 0, true)
}

// follow shows a deploy until it has ended, and how it has.
func follow(cmd *cobra.Command, c *apiclient.Client, d catalog.Deploy, out io.Writer) error {
	started := time.Now()
	p := screen.NewProgress(out)
	d, err := watchDeploy(cmd, c, d, waitAlong(func(a *apiclient.Away) { p.Away(a, goesOn(d)) }), p.Event)
	p.Done()
	if err != nil {
		return err
	}
	return DeployOutcome(out, d, time.Since(started), false)
}

// watchDeploy tells each what happens to a deploy and returns it as it has ended.
func watchDeploy(cmd *cobra.Command, c *apiclient.Client, d catalog.Deploy, p apiclient.Patience, each func(messages.Event) error) (catalog.Deploy, error) {
	c = c.Patient(p)
	err := c.DeployEvents(cmd.Context(), d.ID, each)
	if err == nil {
		var ended catalog.Deploy
		if ended, err = c.Deploy(cmd.Context(), d.ID); err == nil {
			return ended, nil
		}
	}
	return d, fmt.Errorf("%s: %w", goesOn(d), err)
}

// goesOn says that a deploy does not need the command that follows it.
func goesOn(d catalog.Deploy) string {
	return fmt.Sprintf("deploy %s goes on: portico deploys %s shows it", d.ID, d.ID)
}

// printURLs says where a site answers now.
func printURLs(cmd *cobra.Command, c *apiclient.Client, name string) error {
	site, err := c.Site(cmd.Context(), name)
	if err != nil {
		return fmt.Errorf("ask where the site answers (the deploy has succeeded): %w", err)
	}
	for _, url := range site.URLs {
		fmt.Fprintln(cmd.OutOrStdout(), "  "+url)
	}
	for _, cert := range site.Certificates {
		if cert.State != "valid" && cert.State != "none" {
			fmt.Fprintf(cmd.OutOrStdout(), "  %s: %s\n", strings.Join(cert.Names, ", "), cert.Text(time.Now()))
		}
	}
	return nil
}
