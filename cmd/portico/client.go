package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico/certs"
	"portico/conf"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/proxy/admin"
)

// access finds the cluster: --dir, PORTICO_DIR, PORTICO_ADDR with
// PORTICO_TOKEN, what login saved, then the usual folders of a proxy and of up.
func (s *shared) access() (statedir.Access, error) {
	if dir := s.dir; dir != "" {
		return statedir.ReadAccess(filepath.Join(dir, statedir.ClientFile))
	}
	if dir := s.env("PORTICO_DIR"); dir != "" {
		return statedir.ReadAccess(filepath.Join(dir, statedir.ClientFile))
	}
	if addr := s.env("PORTICO_ADDR"); addr != "" {
		a := statedir.Access{Addr: addr, Fingerprint: s.env("PORTICO_FINGERPRINT"), Token: s.env("PORTICO_TOKEN")}
		if a.Token == "" {
			return statedir.Access{}, exitcode.Misuse(errors.New("PORTICO_ADDR is set and PORTICO_TOKEN is not"))
		}
		return a, nil
	}
	var candidates []string
	if saved, err := s.loginFile(); err == nil {
		candidates = append(candidates, saved)
	}
	candidates = append(candidates, filepath.Join(upDir, statedir.ClientFile), filepath.Join(conf.Default().Dir, statedir.ClientFile))
	for _, path := range candidates {
		a, err := statedir.ReadAccess(path)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return statedir.Access{}, err
		}
	}
	return statedir.Access{}, exitcode.Misuse(fmt.Errorf("no cluster is known here: give --dir (the folder of a proxy on this machine), set PORTICO_ADDR and PORTICO_TOKEN, or run portico login"))
}

// loginFile is where portico login keeps its access. Without a home there is no such place: a file of that
// name where the command happens to run may be anybody's, and would lead it to another cluster.
func (s *shared) loginFile() (string, error) {
	dir := s.env("XDG_CONFIG_HOME")
	if dir == "" {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", fmt.Errorf("no place to keep a login: set HOME, or PORTICO_ADDR and PORTICO_TOKEN in place of it: %w", err)
		}
	}
	return filepath.Join(dir, "portico", statedir.ClientFile), nil
}

// client returns a client of the cluster that the environment names.
func (s *shared) client() (*admin.Client, error) {
	a, err := s.access()
	if err != nil {
		return nil, err
	}
	return newClient(a)
}

func newClient(a statedir.Access) (*admin.Client, error) {
	var trust *tls.Config
	if a.Fingerprint != "" {
		var err error
		if trust, err = certs.PinnedClientTLS(a.Fingerprint); err != nil {
			return nil, exitcode.Misuse(err)
		}
	}
	c, err := admin.NewClient(admin.ClientOptions{Addr: a.Addr, TLS: trust, Token: a.Token, UserAgent: "portico/" + buildVersion()})
	if err != nil {
		return nil, exitcode.Misuse(err)
	}
	return c, nil
}

// withClient adapts a command's function to cobra and gives it a client.
func withClient(s *shared, f func(cmd *cobra.Command, c *admin.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := s.client()
		if err != nil {
			return err
		}
		defer c.Close()
		err = f(cmd, c, args)
		if errors.Is(err, certs.ErrWrongAuthority) {
			return fmt.Errorf("%w: if it is the right proxy all the same, log in with the fingerprint that it prints at its start (portico login), or set PORTICO_FINGERPRINT to it", err)
		}
		return err
	}
}

// completeWith offers the names that list returns for the first argument.
func completeWith(s *shared, list func(*cobra.Command, *admin.Client) ([]string, error)) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := s.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer c.Close()
		names, err := list(cmd, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func siteNames(cmd *cobra.Command, c *admin.Client) ([]string, error) {
	sites, err := c.Sites(cmd.Context())
	var names []string
	for _, site := range sites {
		names = append(names, site.Name)
	}
	return names, err
}

func memberNames(cmd *cobra.Command, c *admin.Client) ([]string, error) {
	members, err := c.Members(cmd.Context())
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	return names, err
}
