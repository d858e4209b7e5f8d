// Package client has the commands that speak to a running cluster by its API: they ask, print what they are told, and wait.
package client

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"portico/certs"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/proxy/admin/apiclient"
)

// connect returns a client of the cluster that the environment names.
func connect(s *shell.Call) (*apiclient.Client, error) {
	a, err := s.Access()
	if err != nil {
		return nil, err
	}
	return New(a, s.Version)
}

// New returns a client that tells the proxy which version it is of.
func New(a statedir.Access, version string) (*apiclient.Client, error) {
	var trust *tls.Config
	if a.Fingerprint != "" {
		var err error
		if trust, err = certs.PinnedClientTLS(a.Fingerprint); err != nil {
			return nil, exitcode.Misuse(err)
		}
	}
	c, err := apiclient.New(apiclient.Options{Addr: a.Addr, TLS: trust, Token: a.Token, UserAgent: "portico/" + version})
	if err != nil {
		return nil, exitcode.Misuse(err)
	}
	return c, nil
}

// withClient adapts a command's function to cobra and gives it a client.
func withClient(s *shell.Call, f func(cmd *cobra.Command, c *apiclient.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := connect(s)
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
func completeWith(s *shell.Call, list func(*cobra.Command, *apiclient.Client) ([]string, error)) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := connect(s)
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

func siteNames(cmd *cobra.Command, c *apiclient.Client) ([]string, error) {
	sites, err := c.Sites(cmd.Context())
	var names []string
	for _, site := range sites {
		names = append(names, site.Name)
	}
	return names, err
}

func memberNames(cmd *cobra.Command, c *apiclient.Client) ([]string, error) {
	members, err := c.Members(cmd.Context())
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	return names, err
}
