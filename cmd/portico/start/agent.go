package start

import (
	"fmt"
	"os"
	"strings"

	"portico/cmd/portico/shell"
	"portico/deployhook/agent/appserver"
	"portico/internal/exitcode"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
)

// NewAgent makes the command portico agent.
func NewAgent(s *shell.Call) *cobra.Command {
	st := &settings{}
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an application server: join a cluster and run its sites",
		Long: `Run an application server. The first time it knocks at a proxy and waits until
somebody accepts it there, or shows the code of an invitation. From then on it
installs and runs every site of the cluster.

Told to stop (SIGTERM, Ctrl-C) it leaves its sites running, and the next agent on the same
--dir takes them over, so that no session is lost by a restart. portico agent stop --sites,
or a second Ctrl-C, ends them.`,
		Args: cobra.NoArgs,
	}
	bindAgent(st, cmd)
	code := cmd.Flags().String("code", "", "code of an invitation (other users of this machine can see it: --code-file is safer)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := st.load(s, cmd)
		if err != nil {
			return err
		}
		if *code, err = invitation(*code, c.Agent.InviteFile); err != nil {
			return err
		}
		log, _ := logger(c.Log, cmd)
		defer hearHangups(log)()
		started, err := st.given(s, cmd)
		if err != nil {
			return err
		}
		end, unwatch := watchEnding(c.Dir, cmd.ErrOrStderr())
		defer unwatch()
		a, err := appserver.New(appserver.Options{
			Conf: c, Code: *code, Version: s.Version, Logger: log, Started: &started, EndsSites: end.sites,
		})
		if err != nil {
			return err
		}
		notify(log, daemon.SdNotifyReady)
		return a.Run(cmd.Context())
	}
	cmd.AddCommand(newAgentStop(s))
	return cmd
}

// bindAgent gives the command an agent's flags.
func bindAgent(st *settings, cmd *cobra.Command) {
	st.addTo(cmd)
	st.bindList(cmd, "join", "agent.join", "admin address of a proxy, host:port, may be repeated")
	st.bind(cmd, "fingerprint", "agent.fingerprint", "of the cluster, as the proxy prints it")
	st.bind(cmd, "name", "agent.name", "name of this member")
	st.bind(cmd, "listen", "agent.address", "address for the proxies")
	st.bind(cmd, "advertise", "agent.advertise", "address that the proxies are told")
	st.bind(cmd, "gossip", "gossip.address", "address of the gossip, TCP and UDP")
	st.bind(cmd, "zone", "agent.zone", "what fails together with this machine: a room, a rack")
	st.bind(cmd, "code-file", "agent.invite_file", "file with the code of an invitation")
}

// invitation returns the code of an invitation: the one that was given, or what
// the file holds.
func invitation(code, file string) (string, error) {
	if code != "" || file == "" {
		return code, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", exitcode.Misuse(fmt.Errorf("read the code of the invitation: %w", err))
	}
	return strings.TrimSpace(string(data)), nil
}
