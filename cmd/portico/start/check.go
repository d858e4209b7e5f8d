package start

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/conf"
	"portico/deployhook/agent/appserver"
	"portico/internal/exitcode"
	"portico/internal/preflight"
	"portico/membership/catalog"
	"portico/proxy/frontdoor"
)

// NewCheck makes the command portico check.
func NewCheck(s *shell.Call) *cobra.Command {
	st := &settings{}
	var asJSON *bool
	var as *string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration, and with --as all that a start needs, without starting anything",
		Long: `Check a configuration without starting anything.

With --as proxy or --as agent, look as well whether this machine lets such a process start:
its state folder, the files that are named, its addresses. It refuses what a start would
refuse. What the running process on the folder itself has is no fault. Without --as the
state folder says which it is, if there is one.`,
		Example: `  portico check
  portico check ./portico.toml
  portico check --as agent --dir /srv/portico --listen :7544`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				st.file = args[0]
			}
			c, err := st.loadAs(s, cmd)
			if err != nil {
				return err
			}
			role, err := roleOf(*as, c.Dir)
			if err != nil {
				return err
			}
			if err := checkFor(c, role); err != nil {
				return exitcode.Misuse(err)
			}
			warning := ""
			if role == catalog.RoleProxy {
				if err := frontdoor.Unjoinable(c); err != nil {
					warning = err.Error()
				}
			}
			name, data, _ := st.read(s)
			switch {
			case *asJSON:
				return printChecked(cmd, name, data != nil, role, warning)
			case data == nil:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "there is no %s: the defaults, environment and flags are valid\n", name)
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", name)
			}
			if role != "" && err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "nothing here keeps the %s on %s from starting\n", words[role], c.Dir)
			}
			if warning != "" && err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "but "+warning)
			}
			return err
		},
	}
	st.addTo(cmd)
	st.bind(cmd, "http", "proxy.http", "as that proxy has it")
	st.bind(cmd, "https", "proxy.https", "as that proxy has it")
	st.bind(cmd, "admin", "admin.address", "as that proxy has it")
	st.bind(cmd, "catalog", "catalog.address", "as that proxy has it")
	st.bind(cmd, "listen", "agent.address", "as that agent has it")
	st.bind(cmd, "gossip", "gossip.address", "as that process has it")
	st.bindList(cmd, "join", "proxy.join", "as that proxy has it")
	as = cmd.Flags().String("as", "", "proxy or agent: look at this machine as well")
	asJSON = screen.JsonFlag(cmd)
	return cmd
}

// printChecked prints what was found as JSON.
func printChecked(cmd *cobra.Command, name string, found bool, role catalog.Role, warning string) error {
	checked := map[string]any{"valid": true, "file": name, "found": found, "as": words[role]}
	if warning != "" {
		checked["warning"] = warning
	}
	return screen.PrintJSON(cmd.OutOrStdout(), checked)
}

// words are what the processes of the roles are called.
var words = map[catalog.Role]string{catalog.RoleProxy: "proxy", catalog.RoleServer: "agent"}

// roleOf is whose start is looked at: as the command says, else as the state folder does; "": nobody's.
func roleOf(as, dir string) (catalog.Role, error) {
	for role, word := range words {
		if as == word {
			return role, nil
		}
	}
	if as != "" {
		return "", exitcode.Misuse(fmt.Errorf("--as %q: write proxy or agent", as))
	}
	for part, role := range map[string]catalog.Role{"catalog": catalog.RoleProxy, "agent": catalog.RoleServer} {
		if _, err := os.Stat(filepath.Join(dir, part)); err == nil {
			return role, nil
		}
	}
	return "", nil
}

// checkFor looks at the files that the configuration names, and for a role at all that its start refuses.
func checkFor(c conf.Config, role catalog.Role) error {
	switch role {
	case catalog.RoleProxy:
		return errors.Join(frontdoor.Preflight(c), preflight.TryAddresses(frontdoor.Addresses(c), c.Dir))
	case catalog.RoleServer:
		return errors.Join(appserver.Preflight(c), preflight.TryAddresses(appserver.Addresses(c), c.Dir))
	}
	if err := appserver.CheckFiles(c); err != nil {
		return err
	}
	return frontdoor.CheckFiles(c)
}
