package logs

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"portico/internal/pause"
)

// inotify is a logWatch by the kernel's word, see inotify(7).
type inotify struct {
	f    *os.File
	sets chan map[string]bool

	mu   sync.Mutex
	dirs map[int32]string // guarded by mu, by watch descriptor
}

// newWatch returns nil where the system grants no more watches: logs are looked at in turn then.
func newWatch() logWatch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	return &inotify{f: os.NewFile(uintptr(fd), "inotify"), sets: make(chan map[string]bool), dirs: make(map[int32]string)}
}

func (w *inotify) changed() <-chan map[string]bool { return w.sets }

// follow watches folders. To watch one that is watched already changes nothing. It returns those that could not be watched.
func (w *inotify) follow(dirs []string) (not []string) {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return dirs
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	err = raw.Control(func(fd uintptr) {
		for _, dir := range dirs {
			wd, err := unix.InotifyAddWatch(int(fd), dir, unix.IN_MODIFY|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
			if err != nil {
				not = append(not, dir)
				continue
			}
			w.dirs[int32(wd)] = dir
		}
	})
	if err != nil {
		return dirs // closed
	}
	return not
}

func (w *inotify) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = w.f.Close() })()
	b := make([]byte, 64<<10)
	for {
		n, err := w.f.Read(b)
		if err != nil {
			_ = w.f.Close()
			return
		}
		if set := w.read(b[:n]); len(set) > 0 {
			select {
			case w.sets <- set:
			case <-ctx.Done():
				return
			}
		}
		if pause.For(ctx, logPoll) != nil { // what is written meanwhile waits in the kernel, as one event
			return
		}
	}
}

// read returns the folders that events tell of. When there were more than the kernel keeps, it is all.
func (w *inotify) read(events []byte) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	set := make(map[string]bool)
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		size := int(binary.NativeEndian.Uint32(events[12:]))
		end := min(unix.SizeofInotifyEvent+size, len(events))
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:end], []byte{0})
		events = events[end:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			for _, dir := range w.dirs {
				set[dir] = true
			}
		case mask&unix.IN_IGNORED != 0:
			delete(w.dirs, wd)
		case strings.HasSuffix(string(name), logSuffix) && w.dirs[wd] != "":
			set[w.dirs[wd]] = true
		}
	}
	return set
}
