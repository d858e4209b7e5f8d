package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
)

// A process writes its log itself: standard output and error are the file,
// opened for appending. A pipe to the agent would end with the agent, and a
// process in between for each instance would cost more than it brings. So that a
// log cannot fill the disk, the agent looks at its size and, past the limit,
// copies the newest part to LOG.1 and cuts the file (copytruncate): lines that
// are written between the two are lost, which the loser has brought upon itself.

// Commands is the log of a site's commands, beside those of its instances.
const Commands = "commands"

const (
	logKept = 5 // logs of ended instances that stay, for each site

	logSuffix = ".log"
)

// Options say what a Keeper needs.
type Options struct {
	Dir     string // state directory of the machine
	Member  string // its name, for people
	Limit   int64  // size from which on a log is cut
	Own     bool   // logs are given to the sites' accounts, which only root can
	Logger  *slog.Logger
	Hold    func(site, reason string) // holds a site back whose log cannot be cut; an empty reason lets it go
	Live    func(instance string) bool
	Stopped <-chan struct{} // ends what is followed
}

// Keeper keeps the logs of all sites of one agent.
type Keeper struct {
	Options
	opened chan struct{} // capacity 1: an instance has a new log
}

// NewKeeper returns a keeper, which cuts nothing before Run.
func NewKeeper(o Options) *Keeper { return &Keeper{Options: o, opened: make(chan struct{}, 1)} }

// folder is where the logs of a site are.
func (k *Keeper) folder(site string) string { return folders.Of(k.Dir, site).Logs() }

// Open opens the log of one instance. The account owns it, because programs
// open /dev/stdout and /dev/stderr anew; the folder is the agent's.
func (k *Keeper) Open(site folders.Site, name, release string, acc account.Account) (*os.File, error) {
	logs, err := beneath.Open(site.Logs())
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer logs.Close()
	if name != Commands {
		if err := newTimes(logs, name, release); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	}
	f, _, err := logs.OpenFile(name+logSuffix, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	select {
	case k.opened <- struct{}{}:
	default:
	}
	if k.Own {
		if err := f.Chown(acc.UID, acc.GID); err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
		}
	}
	return f, nil
}

// Tidy removes the oldest logs of ended instances.
func (k *Keeper) Tidy(site folders.Site) error {
	logs, err := beneath.Open(site.Logs())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer logs.Close()
	names, err := logs.Names()
	if err != nil {
		return err
	}
	type ended struct {
		name string
		at   time.Time
	}
	var list []ended
	for _, name := range names {
		id, ok := strings.CutSuffix(name, logSuffix)
		if !ok || id == Commands || k.Live(id) {
			continue
		}
		if fi, err := logs.Lstat(name); err == nil {
			list = append(list, ended{name, fi.ModTime()})
		}
	}
	slices.SortFunc(list, func(x, y ended) int { return y.at.Compare(x.at) })
	var errs []error
	for _, e := range list[min(len(list), logKept):] {
		errs = append(errs, logs.RemoveAll(e.name), logs.RemoveAll(e.name+".1"), logs.RemoveAll(strings.TrimSuffix(e.name, logSuffix)+timesSuffix))
	}
	return errors.Join(errs...)
}
