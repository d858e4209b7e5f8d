package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const rlimitProcesses = unix.RLIMIT_NPROC

func (s shimSpec) applySystem() error {
	if s.OOMScore != 0 {
		// Best effort: containers may forbid it.
		_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(s.OOMScore)), 0o644)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

// ownTasks counts the threads of this process's account, because the limit on
// processes counts the account's, not the site's. Zero when it cannot tell.
func ownTasks() uint64 {
	uid := strconv.Itoa(os.Getuid())
	dirs, _ := filepath.Glob("/proc/[0-9]*/status")
	var n uint64
	for _, name := range dirs {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if f := strings.Fields(statusField(b, "Uid:")); len(f) == 0 || f[0] != uid {
			continue
		}
		threads, _ := strconv.ParseUint(statusField(b, "Threads:"), 10, 32)
		n += threads
	}
	return n
}

// statusField returns the value of one line of /proc/PID/status.
func statusField(status []byte, key string) string {
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func duplicate(from, to int) error { return unix.Dup3(from, to, 0) }

// cover lays an empty file system over s.Cover and puts s.Site back into it. It
// runs in a mount namespace of its own, so nobody else sees it.
func (s shimSpec) cover() error {
	site, err := unix.Open(s.Site, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.Site, err)
	}
	defer unix.Close(site)
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("tmpfs", s.Cover, "tmpfs", flags, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("cover %s: %w", s.Cover, err)
	}
	if err := os.MkdirAll(s.Site, 0o755); err != nil {
		return fmt.Errorf("cover %s: %w", s.Cover, err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", site), s.Site, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s: %w", s.Site, err)
	}
	if err := unix.Mount("", s.Cover, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("cover %s: %w", s.Cover, err)
	}
	return nil
}

// MayCover reports whether this process may lay file systems over a closed folder
// for its sites (CAP_SYS_ADMIN), see shimSpec.
func MayCover() bool {
	const sysAdmin = 21
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	caps, err := strconv.ParseUint(statusField(b, "CapEff:"), 16, 64)
	return err == nil && caps&(1<<sysAdmin) != 0
}
