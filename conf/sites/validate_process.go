package sites

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate returns every mistake in s; none if s may be used. Zero values stand for defaults.
func (s Settings) Validate() Mistakes {
	var m Mistakes
	s.validateKind(&m)
	m = append(m, s.Front.Validate()...)
	if len(s.Hosts) > 100 { // each is a key of one transaction in the catalog
		m.bare("hosts", "has %d names, the most is 100", len(s.Hosts))
	}
	s.validateFiles(&m)
	s.validateProcess(&m)
	m.between("deploy.wave", s.Deploy.Wave, 0, 10000)
	m.between("deploy.keep", s.Deploy.Keep, 0, 100)
	m.within("deploy.timeout", s.Deploy.Timeout, time.Second, 24*time.Hour)
	m.within("deploy.pin", s.Deploy.Pin, time.Second, 365*24*time.Hour)
	m.within("deploy.grace", s.Deploy.Grace, 100*time.Millisecond, time.Hour)
	m = append(m, s.Limits.FrontLimits.Validate()...)
	s.Limits.validateProcess(&m)
	return m
}

func (s *Settings) validateKind(m *Mistakes) {
	kind := string(s.Kind)
	m.oneOf("kind", kind, string(KindRun), string(KindStatic), string(KindTomcat), string(KindHook))
	switch s.Kind {
	case KindRun:
		if len(s.Run) == 0 {
			m.text("kind", kind, `needs the command: set run = ["./server", "--port", "$PORT"]`)
		}
	case KindHook:
		if s.Hook.Port == 0 {
			m.text("kind", kind, "needs to know where the foreign server answers: set port under [hook]")
		}
	case "":
		if len(s.Run) > 0 && s.Hook.Port != 0 {
			m.bare("run", `and hook.port are both set: set kind = "run" or kind = "hook"`)
		}
	}
	if s.Kind != "" && s.Kind != KindRun && len(s.Run) > 0 {
		m.bare("run", `is set for a site of kind %q: remove it, or set kind = "run"`, s.Kind)
	}
	if s.Protocol == ProtocolH2C && (s.Kind == KindStatic || s.Kind == KindTomcat) {
		m.text("protocol", s.Protocol, "is for sites that run a process of their own: those of kind %q answer in HTTP/1.1", s.Kind)
	}
	m.between("hook.port", s.Hook.Port, 0, 65535)
}

func (s *Settings) validateFiles(m *Mistakes) {
	for i, name := range s.Servers {
		if ValidName("server", name) != nil {
			m.text(element("servers", i), name, "is neither a label nor the name of an application server: write lower-case letters, digits and hyphens, such as \"zone-a\"")
		}
	}
	if len(s.Servers) > MaxLabels {
		m.bare("servers", "has %d names, the most is %d: give the servers one label in common", len(s.Servers), MaxLabels)
	}
	if s.Public != "" && !fs.ValidPath(s.Public) {
		m.text("public", s.Public, "is no folder of the archive: write one such as \"public\", without dot-dot")
	}
	for i, d := range s.Data {
		if !fs.ValidPath(d) || d == "." || strings.ContainsAny(d, `\:`) {
			m.text(element("data", i), d, "is no folder inside the site: write one such as \"uploads\", without dot-dot")
		} else if strings.Contains(strings.ToLower("/"+d), "/.portico-") {
			m.text(element("data", i), d, "has a name that begins with \".portico-\", and those are portico's own in data folders: choose another")
		}
	}
	for i, e := range s.Exclude {
		if _, err := path.Match(e, "x"); err != nil {
			m.text(element("exclude", i), e, "is a malformed pattern: use * and ? and [a-z]")
		}
	}
}

func (s *Settings) validateProcess(m *Mistakes) {
	for _, c := range []struct {
		key  string
		argv []string
	}{{"run", s.Run}, {"hook.install", s.Hook.Install}, {"hook.activate", s.Hook.Activate}, {"hook.remove", s.Hook.Remove}, {"deploy.before", s.Deploy.Before}} {
		if len(c.argv) > 0 && c.argv[0] == "" {
			m.bare(c.key, "begins with an empty word: its first word is the program")
		}
		for i, a := range c.argv {
			if strings.Contains(a, "\x00") {
				m.bare(element(c.key, i), "contains a NUL byte: remove it")
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		s.validateEnv(m, k)
	}
	if s.User != "" && (len(s.User) > 32 || strings.Trim(strings.ToLower(s.User), "abcdefghijklmnopqrstuvwxyz0123456789_-.") != "" || s.User[0] == '-') {
		m.text("user", s.User, "is not an account name")
	}
	if s.User == "root" || s.User == "0" {
		m.text("user", s.User, "is out of the question: a site's process never runs as root, name another account")
	}
}

// validateEnv shows no value, which may be a secret.
func (s *Settings) validateEnv(m *Mistakes, name string) {
	key := "env." + name
	if !validEnvName(name) {
		key = "env." + strconv.Quote(clip(name))
	}
	switch {
	case !validEnvName(name):
		m.bare(key, "is no name that a process can be given: use letters, digits and underscores, not a digit first")
	case name == "PORT" || strings.HasPrefix(name, "PORTICO_"):
		m.bare(key, "is what portico sets itself: choose another name")
	case strings.Contains(s.Env[name], "\x00"):
		m.bare(key, "contains a NUL byte: remove it")
	}
}

func validEnvName(k string) bool {
	for i := range len(k) {
		c := k[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return k != ""
}

func (l *Limits) validateProcess(m *Mistakes) {
	if l.Memory < 0 || l.Memory > 0 && l.Memory < 4<<20 {
		m.text("limits.memory", l.Memory.String(), "is too little: no process starts with less than 4MiB, and 0 is no limit")
	}
	if l.Disk < 0 || l.Disk > 0 && l.Disk < MinDisk {
		m.text("limits.disk", l.Disk.String(), "is too little: write 1MiB or more, or 0 for no limit")
	}
	if l.CPU < 0 || l.CPU > 0 && l.CPU < 0.01 || l.CPU > 10_000 || l.CPU != l.CPU {
		m.value("limits.cpu", l.CPU, "is no number of processors: write 0.01 to 10000, such as 1.5, or 0 for no limit")
	}
	m.between("limits.files", l.Files, 0, 10_000_000)
	m.between("limits.processes", l.Processes, 0, 1_000_000)
}
