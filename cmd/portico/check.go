package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"portico/conf"
)

func newCheck(s *shared) *cobra.Command {
	st := &settings{}
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration without starting anything",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				st.file = args[0]
			}
			c, err := st.load(s, cmd)
			if err != nil {
				return err
			}
			if err := checkFiles(c); err != nil {
				return usageError{err}
			}
			name, data, _ := st.read(s)
			switch {
			case *asJSON:
				return printJSON(cmd.OutOrStdout(), map[string]any{"valid": true, "file": name, "found": data != nil})
			case data == nil:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "there is no %s: the defaults, environment and flags are valid\n", name)
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", name)
			}
			return err
		},
	}
	st.addTo(cmd)
	asJSON = jsonFlag(cmd)
	return cmd
}

// checkFiles looks whether the files that a configuration names can be read.
func checkFiles(c conf.Config) error {
	files := map[string]string{
		"catalog.ca":                 c.Catalog.CA,
		"catalog.cert":               c.Catalog.Cert,
		"catalog.key":                c.Catalog.Key,
		"tls.acme_root":              c.TLS.ACMERoot,
		"agent.invite_file":          c.Agent.InviteFile,
		"proxy.invite_file":          c.Proxy.InviteFile,
		"agent.tomcat.password_file": c.Agent.Tomcat.PasswordFile,
	}
	for i, pair := range c.TLS.Certificates {
		files[fmt.Sprintf("tls.certificate %d: cert", i+1)] = pair.Cert
		files[fmt.Sprintf("tls.certificate %d: key", i+1)] = pair.Key
	}
	for key, path := range files {
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		_ = f.Close()
	}
	return nil
}
