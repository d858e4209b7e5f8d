package start

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/deployhook/agent/appserver"
	"portico/deployhook/agent/state"
	"portico/internal/exitcode"
)

// againTime is how long a person has to say that sites are to end, too.
const againTime = 5 * time.Second

// ending finds out whether an agent that is told to stop ends its sites. They run on, unless
// somebody says so.
type ending struct {
	dir     string
	out     io.Writer
	presses chan os.Signal // Ctrl-C
}

// watchEnding begins to count how often Ctrl-C is pressed.
func watchEnding(dir string, out io.Writer) (e *ending, stop func()) {
	e = &ending{dir: dir, out: out}
	e.presses, stop = watchPresses()
	return e, stop
}

// sites reports whether sites are to end with the agent, which was just told to stop.
func (e *ending) sites() bool {
	if appserver.AskedToEndSites(e.dir) {
		return true
	}
	select {
	case <-e.presses:
	default:
		return false
	}
	if !screen.IsTerminal(e.out) {
		return false // what sends the signal is a program: it means what SIGTERM means
	}
	fmt.Fprintf(e.out, "\nThe sites of this machine run on, and the next agent takes them over. Press Ctrl-C again within %d seconds to end them, too.\n", againTime/time.Second)
	select {
	case <-e.presses:
		fmt.Fprintln(e.out, "\nEnding the sites.")
		return true
	case <-time.After(againTime):
		return false
	}
}

func newAgentStop(s *shell.Call) *cobra.Command {
	st := &settings{}
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop this machine's agent; its sites run on, or end with --sites",
		Long: `Stop the agent that runs on --dir, and wait until it has ended. Its sites run on, and
the next agent takes them over. With --sites they end, too, in good order: the proxies
send nothing new here, what runs may finish, and each process gets its grace. If no
agent runs, --sites takes over what an earlier one has left and ends it in the same
way, with the settings that the earlier one was started with. Run it as the user that
the agent runs as.`,
		Args: cobra.NoArgs,
	}
	st.addTo(cmd)
	st.bind(cmd, "listen", "agent.address", "address for the proxies, where no agent runs; default as the agent had it")
	st.bind(cmd, "gossip", "gossip.address", "address of the gossip, where no agent runs; default as the agent had it")
	sites := cmd.Flags().Bool("sites", false, "end the sites, too: before the machine is taken away or portico is removed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := st.loadAs(s, cmd)
		if err != nil {
			return err
		}
		log, _ := logger(c.Log, cmd)
		if _, err := os.Stat(filepath.Join(c.Dir, "agent")); errors.Is(err, fs.ErrNotExist) {
			return exitcode.Misuse(fmt.Errorf("%s is no agent's folder: give --dir as the agent has it", c.Dir))
		}
		lock, err := state.LockDir(c.Dir)
		switch {
		case errors.Is(err, state.ErrLocked):
			err = appserver.Stop(cmd.Context(), c.Dir, *sites)
		case err != nil:
			return err
		default:
			_ = lock.Close()
			if !*sites {
				return fmt.Errorf("no agent runs on %s; --sites ends the sites that one has left", c.Dir)
			}
			var p *appserver.Agent
			if p, err = appserver.New(appserver.Options{Conf: c, Version: s.Version, Logger: log}); err == nil {
				err = p.EndLeft(cmd.Context())
			}
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), stopped(*sites))
		return err
	}
	return cmd
}

func stopped(sites bool) string {
	if sites {
		return "the agent and its sites have ended"
	}
	return "the agent has ended; its sites run on"
}
