package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"portico/deployhook/agent"
	"portico/internal/exitcode"
	"portico/internal/pause"
	"portico/internal/statedir"
)

const (
	// againTime is how long a person has to say that sites are to end, too.
	againTime = 5 * time.Second

	// endSitesFile, in the agent's own folder, tells the agent whose process id it holds
	// to end its sites when it is told to stop.
	endSitesFile = "end-sites"
)

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
	if e.asked() {
		return true
	}
	select {
	case <-e.presses:
	default:
		return false
	}
	if !isTerminal(e.out) {
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

// asked reports whether portico agent stop --sites has left its wish for this process.
func (e *ending) asked() bool {
	path := filepath.Join(e.dir, "agent", endSitesFile)
	pid, _ := statedir.ReadMark(path)
	if pid == 0 {
		return false
	}
	_ = os.Remove(path)
	return pid == os.Getpid()
}

func newAgentStop(s *shared) *cobra.Command {
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
		lock, err := agent.LockDir(c.Dir)
		switch {
		case errors.Is(err, agent.ErrLocked):
			err = stopRunning(cmd.Context(), c.Dir, *sites)
		case err != nil:
			return err
		default:
			_ = lock.Close()
			if !*sites {
				return fmt.Errorf("no agent runs on %s; --sites ends the sites that one has left", c.Dir)
			}
			var p *agentProcess
			if p, err = newAgentProcess(c, "", log); err == nil {
				err = p.endLeft(cmd.Context())
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

// stopRunning tells the agent that runs on dir to end, and waits for that.
func stopRunning(ctx context.Context, dir string, sites bool) error {
	pid := agent.Holder(dir)
	if pid <= 0 {
		return fmt.Errorf("the agent on %s does not say its process id: stop it by its service manager", dir)
	}
	if sites {
		name := filepath.Join(dir, "agent", endSitesFile)
		if err := statedir.LeaveMark(name, pid); err != nil {
			return fmt.Errorf("ask the agent to end its sites: %w: run this as the agent's user", err)
		}
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Signal(syscall.SIGTERM)
	}
	if err != nil {
		return fmt.Errorf("stop the agent, process %d: %w: stop it by its service manager", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, statedir.PredecessorLimit)
	defer cancel()
	for {
		lock, err := agent.LockDir(dir)
		if err == nil {
			return lock.Close()
		}
		if now := agent.Holder(dir); now != pid {
			return nil // another one has begun: its service manager starts it again
		}
		if pause.For(ctx, 50*time.Millisecond) != nil {
			return exitcode.Timeout(fmt.Sprintf("the agent, process %d, has not ended within %s: look at its log", pid, statedir.PredecessorLimit))
		}
	}
}

// endLeft takes over the sites that an agent has left and ends them as that one would have.
func (p *agentProcess) endLeft(ctx context.Context) error {
	if !p.accepted() {
		return fmt.Errorf("%s is no accepted member's folder: there are no sites", p.conf.Dir)
	}
	p.brief = true
	return p.run(ctx)
}

// endsSites reports whether sites end with this process.
func (p *agentProcess) endsSites() bool { return p.ends == nil || p.ends() }
