package process

import (
	"os"
	"runtime"
)

// shimSpec is what Shim does to itself before it becomes the site's process. It
// travels as JSON over standard input: a command line can be read by everybody.
type shimSpec struct {
	Path string   `json:"path"` // resolved executable
	Args []string `json:"args"` // with the name at index 0
	Env  []string `json:"env"`
	Dir  string   `json:"dir"` // working directory

	// Cover is a folder that the site's account may not enter though the site's
	// own folder, Site, lies below it (root's home, say). Shim then runs as root
	// in a mount namespace of its own, shows the process an empty folder there
	// with nothing but Site in it, and becomes UID and GID by itself. Empty: it
	// runs as the site's account from the start.
	Cover string `json:"cover,omitempty"`
	Site  string `json:"site,omitempty"`
	UID   int    `json:"uid,omitempty"`

	// Reap, not zero, makes it kill every process of that user instead, as the
	// user UID, whom no site can signal.
	Reap int `json:"reap,omitempty"`

	GID int `json:"gid,omitempty"`

	Umask     int    `json:"umask"`
	Files     uint64 `json:"files,omitempty"`  // RLIMIT_NOFILE; 0: as inherited
	Processes uint64 `json:"procs,omitempty"`  // RLIMIT_NPROC; 0: as inherited
	Shared    bool   `json:"shared,omitempty"` // the account has other processes: count them in
	Memory    uint64 `json:"memory,omitempty"` // RLIMIT_DATA; 0: as inherited
	OOMScore  int    `json:"oom,omitempty"`    // of /proc/self/oom_score_adj: how the kernel chooses victims
	Nice      int    `json:"nice,omitempty"`
}

// shimName is the hidden subcommand that Shim serves.
const shimName = "__run"

// ShimCommand is how Shim is called: no command where there is none.
func ShimCommand() []string {
	switch runtime.GOOS {
	case "windows":
		return nil
	case "linux":
		// Not the path: the file may have been replaced by a newer version, or
		// lie where the site's account may not go.
		return []string{"/proc/self/exe", shimName}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{exe, shimName}
}
