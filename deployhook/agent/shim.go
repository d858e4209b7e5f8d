package agent

// shimSpec is what Shim does to itself before it becomes the site's process.
// It travels as JSON in the command line, so nothing in it may be secret.
type shimSpec struct {
	Path      string `json:"path"`               // resolved executable
	Umask     int    `json:"umask"`              //
	Files     uint64 `json:"files,omitempty"`    // RLIMIT_NOFILE; 0: as inherited
	Processes uint64 `json:"procs,omitempty"`    // RLIMIT_NPROC; 0: as inherited
	Shared    bool   `json:"shared,omitempty"`   // the account has other processes: count them in
	Memory    uint64 `json:"memory,omitempty"`   // RLIMIT_DATA; 0: as inherited
	OOMScore  int    `json:"oom,omitempty"`      // added to the score by which the kernel chooses victims
	Nice      int    `json:"nice,omitempty"`     // 0: as inherited
	KeepPrivs bool   `json:"keepPriv,omitempty"` // do not forbid new privileges
}
