package client

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/proxy/admin/api"
)

// NewLogin makes the command portico login.
func NewLogin(s *shell.Call) *cobra.Command {
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
	asJSON := screen.JsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		saved, err := s.LoginFile()
		if err != nil {
			return err
		}
		a := statedir.Access{Addr: args[0], Fingerprint: *fingerprint}
		switch {
		case *token != "":
			a.Token, err = screen.Password(cmd, *token)
		case *account != "":
			a.Token, err = passwordLogin(cmd, s, a, *account, *file)
		default:
			err = exitcode.Misuse(errors.New("who is it? give --account, or --token-file"))
		}
		if err != nil {
			return err
		}
		c, err := New(a, s.Version)
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
		return screen.PrintDone(cmd, *asJSON, who, "logged in to cluster %s as %s (%s)", who.Cluster, who.Account, who.Role)
	}
	return cmd
}

func passwordLogin(cmd *cobra.Command, s *shell.Call, a statedir.Access, account, file string) (string, error) {
	secret, err := screen.Password(cmd, file)
	if err != nil {
		return "", err
	}
	c, err := New(a, s.Version)
	if err != nil {
		return "", err
	}
	defer c.Close()
	host, _ := os.Hostname()
	answer, err := c.Login(cmd.Context(), api.LoginRequest{Account: account, Password: secret, Label: "portico login on " + host})
	return answer.Token, err
}
