package main

import (
	"os"
	"path/filepath"
	"slices"
)

// place is where a newcomer may be.
type place struct {
	name  string
	own   bool // has caches of its own, where Go keeps them by itself; the others share a pair, see visits.sharedCaches
	whole bool // here the second command runs every test, elsewhere a few

	clone  string      // the clone's folder, below the place's own
	home   string      // likewise; empty: HOME is not set
	owner  int         // of the home, and all that is in it
	mode   os.FileMode // of the folder that the clone lies in
	inside string      // a shell's script that goes there with "$@"; $CLONE and $TEMP are folders
	first  string      // what README has a newcomer type here first
	state  string      // where up keeps its state, below the place's folder; empty: not looked at
}

const (
	goRun   = "go run ./cmd/portico up"
	makeRun = "make && ./portico up" // where no program runs in the temporary folder
)

// nobody is an account, somebody is none.
const (
	nobody   = 65534
	somebody = 54321
)

// docker are the capabilities that a container's root has by default.
const docker = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"

// contained makes what a container's processes see of the kernel read-only.
const contained = `hostname container
mount -o remount,bind,ro /sys; mount -o remount,bind,ro /sys/fs/cgroup
mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys
exec setpriv --bounding-set=` + docker + ` --inh-caps=-all `

// places are those of the README. In two of them the caches are empty: in the first, and where they are the
// place's own. The others are about something else, and each compile takes minutes.
var places = []place{
	{
		name: "root, in a home closed to others", whole: true, first: goRun,
		clone: "root/my clone", home: "root", mode: 0o700, inside: `exec "$@"`, state: "root/my clone/portico-data",
	},
	{
		name: "a user", own: true, first: goRun,
		clone: "home/portico", home: "home", owner: nobody, mode: 0o750, state: "home/portico/portico-data",
		inside: `exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`,
	},
	{
		name: "root of a container, HOME unset", first: goRun,
		clone: "src", mode: 0o755, inside: contained + `"$@"`, state: "src/portico-data",
	},
	{
		name: "a number of a container, read-only source", first: goRun,
		clone: "src", mode: 0o755, state: "temp/portico-up-54321",
		inside: `mount --bind "$CLONE" "$CLONE"; mount -o remount,bind,ro "$CLONE"; cd "$CLONE"; export HOME=/ TMPDIR="$TEMP"
` + contained + `--reuid 54321 --regid 0 --clear-groups "$@"`,
	},
	{
		name: "a number with a home, read-only source", first: goRun,
		clone: "src", home: "home", owner: somebody, mode: 0o755, state: "home/.local/state/portico-up",
		inside: `mount --bind "$CLONE" "$CLONE"; mount -o remount,bind,ro "$CLONE"; cd "$CLONE"
exec setpriv --reuid 54321 --regid 54321 --clear-groups "$@"`,
	},
	{
		name: "root of a container without other users", first: goRun,
		clone: "src", mode: 0o755,
		inside: `exec unshare --user --map-root-user --mount "$@"`,
	},
	{
		name: "no programs in the temporary folder", first: makeRun,
		clone: "src", home: "home", mode: 0o755,
		inside: `mount -t tmpfs -o noexec,mode=1777 t "$TEMP"; export TMPDIR="$TEMP"; exec "$@"`,
	},
	{
		name: "no programs in the clone's folder", first: goRun,
		clone: "src", home: "home", mode: 0o755,
		inside: `mount --bind "$CLONE" "$CLONE"; mount -o remount,bind,noexec "$CLONE"; cd "$CLONE"; exec "$@"`,
	},
}

// site is a place that was made on this machine.
type site struct {
	place
	dir string // everything of it
}

// makeIn makes the place's folders below dir; fill puts the clone into its folder.
func (p place) makeIn(dir string, fill func(clone string) error) (*site, error) {
	s := &site{place: p, dir: dir}
	for _, each := range []string{filepath.Dir(s.path(p.clone)), s.path(p.home), s.path("temp")} {
		if err := os.MkdirAll(each, 0o755); err != nil {
			return nil, err
		}
	}
	if err := fill(s.path(p.clone)); err != nil {
		return nil, err
	}
	if p.owner != 0 {
		err := filepath.WalkDir(s.path(p.home), func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, p.owner, p.owner)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(s.path("temp"), 0o777|os.ModeSticky); err != nil {
		return nil, err
	}
	return s, os.Chmod(filepath.Dir(s.path(p.clone)), p.mode)
}

func (s *site) path(below string) string { return filepath.Join(s.dir, below) }

// command is argv as it is run in the place: in the clone's folder, by who is there, with processes of its
// own, so that none is left when it ends.
func (s *site) command(argv ...string) []string {
	env := []string{"env", "-C", s.path(s.clone), "-u", "HOME"}
	if s.home != "" {
		env = append(env[:3], "HOME="+s.path(s.home))
	}
	alone := []string{"unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"}
	first := []string{"sh", "-c", `trap : INT; "$@"; exit $?`, "first"} // reaps what nobody waits for, as every first process has to
	there := []string{"sh", "-e", "-c", s.inside, "place"}
	return slices.Concat(env, []string{"CLONE=" + s.path(s.clone), "TEMP=" + s.path("temp")}, alone, first, there, argv)
}
