package statedir

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// A mark is a process id in a file, by which one process on a state folder tells another something. It must be left
// on a full disk too: the one time when somebody stops everything to make room.

// LeaveMark leaves a mark of a process. Where the disk is full it is a symbolic link: that needs no block.
func LeaveMark(path string, pid int) error {
	id := strconv.Itoa(pid)
	err := os.WriteFile(path, []byte(id), 0o600)
	if err == nil {
		return nil
	}
	_ = os.Remove(path)
	if os.Symlink(id, path) != nil {
		return err
	}
	return nil
}

// ReadMark returns whose mark lies there and since when; 0: nobody's.
func ReadMark(path string) (pid int, at time.Time) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, time.Time{}
	}
	id, err := os.Readlink(path)
	if err != nil {
		text, _ := os.ReadFile(path)
		id = string(text)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(id)); err != nil {
		return 0, time.Time{}
	}
	return pid, info.ModTime()
}
