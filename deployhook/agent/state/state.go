package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/internal/durable"
	"portico/membership/catalog/messages"
)

// version is raised when an older agent could misread the file.
const version = 1

// File is agent/state.json: what a restarted agent must know. It is
// written whole, by temporary file, flush and rename.
type File struct {
	Version   int                 `json:"version"`
	Cluster   string              `json:"cluster,omitempty"`
	Wanted    *messages.Wanted    `json:"wanted,omitempty"`
	Instances map[string]Instance `json:"instances,omitempty"` // by instance id
	UIDs      map[string]int      `json:"uids,omitempty"`      // by site; kept as long as the site's data
	Before    map[string]string   `json:"before,omitempty"`    // by site: the deploy whose before command has run
	Hooks     map[string]string   `json:"hooks,omitempty"`     // by site: the release that was activated last
}

// Instance is enough to find an instance again. PID is zero before the
// start and for instances without a process of their own.
type Instance struct {
	ID      string     `json:"id"`
	Site    string     `json:"site"`
	Release string     `json:"release"`
	Kind    sites.Kind `json:"kind"`
	PID     int        `json:"pid,omitempty"`
	Mark    string     `json:"mark,omitempty"` // tells this process from a later one with its pid, see process.markOf
	UID     int        `json:"uid,omitempty"`  // of the process, or of what installed it
	Port    int        `json:"port,omitempty"`
	Context string     `json:"context,omitempty"` // tomcat: context path
	Tomcat  string     `json:"tomcat,omitempty"`  // tomcat: version label there
	Started time.Time  `json:"started"`
}

// read returns what name holds; a missing file is an empty state.
func read(name string) (File, error) {
	s := File{Version: version}
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("read agent state: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, &s); err != nil {
			return s, fmt.Errorf("read agent state %s: %w: move the file away to start afresh; running sites are then started anew", name, err)
		}
		if s.Version > version {
			return s, fmt.Errorf("read agent state %s: it was written by a newer version of the program", name)
		}
	}
	s.Version = version
	for _, m := range []*map[string]string{&s.Before, &s.Hooks} {
		if *m == nil {
			*m = make(map[string]string)
		}
	}
	if s.Instances == nil {
		s.Instances = make(map[string]Instance)
	}
	if s.UIDs == nil {
		s.UIDs = make(map[string]int)
	}
	return s, nil
}

// fileOf is where the state lies in a state directory.
func fileOf(dir string) string { return filepath.Join(dir, "agent", "state.json") }

// Store keeps the state of one agent in memory and on disk.
type Store struct {
	path string
	log  *slog.Logger

	mu sync.Mutex
	st File // guarded by mu
}

// Open reads the state in a state directory.
func Open(dir string, log *slog.Logger) (*Store, error) {
	path := fileOf(dir)
	st, err := read(path)
	if err != nil {
		return nil, err
	}
	return &Store{path: path, log: log, st: st}, nil
}

// Change changes the state and returns when it is on disk.
func (s *Store) Change(change func(*File)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.st)
	return write(s.path, s.st)
}

// Save is change for what costs only time when a crash loses it: the
// error is logged, the agent goes on.
func (s *Store) Save(change func(*File)) {
	if err := s.Change(change); err != nil {
		s.log.Error("agent state not saved", "error", err)
	}
}

// Peek calls look with the state in memory.
func (s *Store) Peek(look func(*File)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look(&s.st)
}

// write replaces the state file.
func write(path string, st File) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err == nil {
		err = durable.WriteFile(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write agent state: %w", err)
	}
	return nil
}

// Check returns why an agent could not go on from what lies in the state folder; nil: it could, or nothing is there.
func Check(dir string) error {
	_, err := read(fileOf(dir))
	return err
}
