package beneath_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/deployhook/agent/beneath"
)

// within fails the test when do waits for somebody.
func within(t *testing.T, what string, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s waits", what)
		return nil
	}
}

// A pipe, a socket and a file that is leased hold nobody up.
func TestNothingWaits(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	sock, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(sock)
	if err := syscall.Bind(sock, &syscall.SockaddrUnix{Name: filepath.Join(dir, "socket")}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "leased"), "x")
	leased, err := os.OpenFile(filepath.Join(dir, "leased"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer leased.Close()
	if _, err := unix.FcntlInt(leased.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "socket", "leased"} {
		for _, flag := range []int{os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND} {
			err := within(t, "open "+name, func() error {
				f, _, err := d.OpenFile(name, flag, 0)
				if err == nil {
					_ = f.Close()
				}
				return err
			})
			if err == nil {
				t.Errorf("%s is opened as a file", name)
			}
		}
		if err := within(t, "folder "+name, func() error { _, err := d.Dir(name); return err }); err == nil {
			t.Errorf("%s is opened as a folder", name)
		}
	}
	// Whoever gets a file to write to is not to meet the flag.
	f, _, err := d.OpenFile("log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("a file to write to has flags %o, %v", flags, err)
	}
}

// A chain of folders that is longer than the descriptors of the process goes as well,
// and never takes more than a few of them.
func TestRemoveAllOfLongChain(t *testing.T) {
	dir := t.TempDir()
	const depth = 1000
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := "x"
	for i := range depth {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(at)
		at, name = next, strings.Repeat("d", 1+i%200)
	}
	_ = unix.Close(at)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}()
	d := open(t, dir)
	if err := d.RemoveAll("x"); err != nil {
		t.Fatal(err)
	}
	if names, err := d.Names(); err != nil || len(names) != 0 {
		t.Errorf("%q are left, %v", names, err)
	}
}

// A file with a second name is given to nobody: the other one may be in /etc.
func TestGiveAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away: run the tests as root, as in a container, to see this one")
	}
	const uid = 54321
	outside, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "file"), "not yours")
	write(t, filepath.Join(dir, "given", "deep", "file"), "")
	d := open(t, dir)
	if err := d.GiveAway(uid, uid); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"given", "given/deep", "given/deep/file"} {
		if owner := ownerOf(t, filepath.Join(dir, name)); owner != uid {
			t.Errorf("%s belongs to %d", name, owner)
		}
	}
	if owner := ownerOf(t, dir); owner != 0 {
		t.Errorf("the folder itself belongs to %d", owner)
	}
	if err := os.Link(filepath.Join(dir, "given", "deep", "file"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	if err := d.GiveAway(uid, uid); err != nil {
		t.Errorf("a second name of a file that is the account's: %v", err)
	}
	if err := os.Link(filepath.Join(outside, "file"), filepath.Join(dir, "given", "hard")); err != nil {
		t.Fatal(err)
	}
	if err := d.GiveAway(uid, uid); err == nil || !strings.Contains(err.Error(), "2 names") {
		t.Errorf("a second name of another's file: %v", err)
	}
	link(t, filepath.Join(outside, "file"), filepath.Join(dir, "link"))
	if err := d.GiveAway(uid, uid); err == nil {
		t.Error("a link is given away")
	}
	if owner := ownerOf(t, filepath.Join(outside, "file")); owner != 0 {
		t.Errorf("another's file belongs to %d", owner)
	}
}

func ownerOf(t *testing.T, name string) int {
	t.Helper()
	fi, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return int(fi.Sys().(*syscall.Stat_t).Uid)
}

// Readable is the rule for what visitors get.
func TestReadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others: run the tests as root, as in a container, to see this one")
	}
	name := filepath.Join(t.TempDir(), "file")
	write(t, name, "")
	for _, tt := range []struct {
		uid, gid int
		mode     os.FileMode
		want     bool
	}{
		{100, 100, 0o600, true}, {100, 0, 0o000, true}, // its own: it could change the mode
		{0, 0, 0o644, true}, {0, 0, 0o640, false}, {0, 0, 0o600, false}, {0, 100, 0o640, true}, {0, 100, 0o604, false}, {200, 200, 0o660, false},
	} {
		if err := errors.Join(os.Chown(name, tt.uid, tt.gid), os.Chmod(name, tt.mode)); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := beneath.Readable(fi, 100, 100); got != tt.want {
			t.Errorf("%d:%d %v is readable: %v", tt.uid, tt.gid, tt.mode, got)
		}
	}
}

// As looks with an account's rights, and leaves the threads of everybody else alone.
func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes somebody else: run the tests as root, as in a container, to see this one")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	const uid = 54321
	for name, mode := range map[string]os.FileMode{"root": 0o600, "group": 0o640, "all": 0o644} {
		write(t, filepath.Join(dir, name), "")
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "group"), 0, uid); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for name, want := range map[string]error{"root": os.ErrPermission, "group": nil, "all": nil} {
			err := beneath.As(uid, uid, func() error {
				f, err := os.Open(filepath.Join(dir, name))
				if err == nil {
					_ = f.Close()
				}
				return err
			})
			if !errors.Is(err, want) || err != nil && want == nil {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for range 20 { // the goroutines above may use any thread from now on
		if f, err := os.Open(filepath.Join(dir, "root")); err != nil {
			t.Fatal("the test itself has lost its rights: ", err)
		} else {
			_ = f.Close()
		}
	}
	err = beneath.As(uid, uid, func() error {
		b, err := os.ReadFile("/proc/thread-self/status")
		if err == nil && !strings.Contains(string(b), "\nGroups:\t \n") {
			err = errors.New("it has groups: " + string(b))
		}
		if err == nil && !strings.Contains(string(b), "Uid:\t0\t0\t0\t"+strconv.Itoa(uid)+"\n") {
			err = errors.New("it is another account in more than its files: " + string(b))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
