package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/proxy/admin"
)

func newLogin(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login ADDR",
		Short: "Remember a cluster and a token for this account's commands",
		Long: `Log in to the admin listener at ADDR (host:port) with an account's password, and
keep the token it gives for later commands. The fingerprint is what "portico
proxy" printed; without it the listener needs a certificate of a public authority.`,
		Args: cobra.ExactArgs(1),
	}
	fingerprint := cmd.Flags().String("fingerprint", "", "of the cluster: sha256:…")
	account := cmd.Flags().String("account", "", "name of the account")
	file := cmd.Flags().String("password-file", "", "file with the password on its first line (default: ask)")
	token := cmd.Flags().String("token-file", "", "file with a token, instead of account and password")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		saved, err := s.loginFile()
		if err != nil {
			return err
		}
		a := statedir.Access{Addr: args[0], Fingerprint: *fingerprint}
		switch {
		case *token != "":
			a.Token, err = password(cmd, *token)
		case *account != "":
			a.Token, err = passwordLogin(cmd, a, *account, *file)
		default:
			err = exitcode.Misuse(errors.New("who is it? give --account, or --token-file"))
		}
		if err != nil {
			return err
		}
		c, err := newClient(a)
		if err != nil {
			return err
		}
		defer c.Close()
		who, err := c.Whoami(cmd.Context())
		if err != nil {
			return err
		}
		if err := statedir.WriteAccess(saved, a); err != nil {
			return err
		}
		return printDone(cmd, *asJSON, who, "logged in to cluster %s as %s (%s)", who.Cluster, who.Account, who.Role)
	}
	return cmd
}

func passwordLogin(cmd *cobra.Command, a statedir.Access, account, file string) (string, error) {
	secret, err := password(cmd, file)
	if err != nil {
		return "", err
	}
	c, err := newClient(a)
	if err != nil {
		return "", err
	}
	defer c.Close()
	host, _ := os.Hostname()
	answer, err := c.Login(cmd.Context(), admin.LoginRequest{Account: account, Password: secret, Label: "portico login on " + host})
	return answer.Token, err
}
