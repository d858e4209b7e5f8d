package account

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/user"
	"strconv"
)

// Account is an operating system account that a process is started as.
type Account struct {
	UID, GID int
	Name     string // for USER and messages
	Shared   bool   // other processes run as it, too
}

// Range is Count numbers from First on.
type Range struct{ First, Count int }

// sharedIDs lie in no range that distributions, systemd or container runtimes
// hand out by themselves, see systemd's UIDS-GIDS.
var sharedIDs = Range{First: 1_900_000_000, Count: 65536}

// containerIDs are used where the ids above do not exist: in a user namespace
// that maps 65536 of them.
var containerIDs = Range{First: 40_000, Count: 20_000}

// Own returns the account of this process, which a site may name.
func Own(want string) (Account, error) {
	u, err := user.Current()
	if err != nil && os.Getuid() >= 0 { // a container may run under a number that has no name
		u, err = &user.User{Uid: strconv.Itoa(os.Getuid()), Gid: strconv.Itoa(os.Getgid()), Username: strconv.Itoa(os.Getuid())}, nil
	}
	if err != nil {
		return Account{}, fmt.Errorf("look up the agent's account: %w", err)
	}
	if want != "" && want != u.Username {
		return Account{}, fmt.Errorf("user %q: the agent runs as %q and cannot start processes as anybody else; run it as root, or leave user empty", want, u.Username)
	}
	// Windows has no such numbers; they are not used there.
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return Account{UID: uid, GID: gid, Name: u.Username, Shared: true}, nil
}

// Named looks up an account of this machine.
func Named(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Account{}, fmt.Errorf("user %q: %w", name, err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(uerr, gerr); err != nil {
		return Account{}, fmt.Errorf("user %q: %w", name, err)
	}
	if uid == 0 {
		return Account{}, fmt.Errorf("user %q is root: a site never runs as root", name)
	}
	return Account{UID: uid, GID: gid, Name: name, Shared: true}, nil
}

// usualDir is the state directory of the one agent that a machine has as a rule.
const usualDir = "/var/lib/portico"

// Free picks an id for site that no other site has: by the name's hash, so
// that a site tends to get the same id on every machine. Agents of one machine have
// each their own directory, and take different ids: when the last process of a site ends, whatever
// else its user runs is killed.
func Free(site, dir string, r Range, taken map[string]int) (int, error) {
	used := make(map[int]bool, len(taken))
	for _, id := range taken {
		used[id] = true
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(site))
	if dir != usualDir {
		_, _ = h.Write([]byte(dir))
	}
	start := int(h.Sum32() % uint32(r.Count))
	for i := range r.Count {
		if id := r.First + (start+i)%r.Count; !used[id] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("no user id left for site %q: all %d from %d on are taken", site, r.Count, r.First)
}
