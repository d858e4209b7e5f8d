package start

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"portico/cmd/portico/client"
	"portico/cmd/portico/screen"
	"portico/deployhook/archive"
	"portico/internal/statedir"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/apiclient"
)

// installDemo deploys the demonstration site through the API, as anybody would.
func (u *up) installDemo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "portico-demo-")
	if err != nil {
		return fmt.Errorf("make the demonstration site: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(filepath.Join(dir, client.ManifestName), []byte(demoManifest), 0o644); err != nil {
		return fmt.Errorf("make the demonstration site: %w", err)
	}
	a, err := statedir.ReadAccess(filepath.Join(u.conf.Dir, statedir.ClientFile))
	if err != nil {
		return err
	}
	c, err := client.New(a, u.version)
	if err != nil {
		return err
	}
	defer c.Close()
	folder, err := archive.OpenFolder(dir, nil, archive.Limits{})
	if err != nil {
		return fmt.Errorf("make the demonstration site: %w", err)
	}
	answer, err := c.Upload(ctx, apiclient.Upload{Site: demoName, Name: "demo.tar.zst", Size: -1,
		Open: func() (io.ReadCloser, error) { return client.PackFolder(ctx, folder), nil }})
	if err != nil {
		return fmt.Errorf("install the demonstration site: %w", err)
	}
	steps := map[string]string{}
	if err := c.DeployEvents(ctx, answer.Deploy.ID, func(e messages.Event) error {
		if e.Progress != nil {
			steps[e.Member] = e.Member + " is " + screen.StepText(*e.Progress)
			text := "installing the demonstration site: " + strings.Join(slices.Sorted(maps.Values(steps)), ", ") + " …"
			u.line.Note(text, text, time.Now())
		}
		return nil
	}); err != nil {
		return fmt.Errorf("install the demonstration site: %w", err)
	}
	d, err := c.Deploy(ctx, answer.Deploy.ID)
	if err != nil {
		return fmt.Errorf("install the demonstration site: %w", err)
	}
	return client.DeployOutcome(io.Discard, d, 0, true)
}

const demoManifest = `# The demonstration site: the program itself, counting visits in memory.
run = ["portico", "demo-site"]

[health]
path = "/healthz"
status = "200"
interval = "500ms"
rise = 1

[deploy]
timeout = "30m" # as long as a small machine needs; what fails at once is told at once
`
