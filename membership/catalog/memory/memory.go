// Package memory keeps a copy of what an outside etcd holds, in this process and in a file: a proxy that starts or runs while the
// etcd is away serves the last known state. It knows keys and values, and nothing of what they hold.
package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/internal/durable"
	"portico/internal/pause"
	"portico/membership/catalog/store"
)

// File is the name of the file.
const File = "remembered"

const (
	magic = "portico remembers a catalog 1\n"

	// gather is how long changes are gathered for one write of the file. A
	// crash loses so much of what was remembered; the etcd has it.
	gather = time.Second
)

// Copy is what an outside etcd said last, as it is stored there. All methods may be used concurrently.
type Copy struct {
	Path string // of the file

	logger *slog.Logger
	keep   func(key string) bool // what is kept of it

	mu       sync.Mutex
	items    map[string]store.Item // guarded by mu
	revision int64                 // guarded by mu
	down     time.Time             // until then the etcd is not asked for what is here too; guarded by mu

	dirty chan struct{} // capacity 1
}

// New returns an empty copy whose file is in dir. It keeps only keys that keep wants.
func New(dir string, logger *slog.Logger, keep func(key string) bool) *Copy {
	return &Copy{Path: filepath.Join(dir, File), logger: logger, keep: keep, items: map[string]store.Item{}, dirty: make(chan struct{}, 1)}
}

// Replace forgets everything in favour of items.
func (m *Copy) Replace(items []store.Item, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.items)
	for _, it := range items {
		if m.keep(it.Key) {
			m.items[it.Key] = it
		}
	}
	m.revision, m.down = revision, time.Time{}
	m.touch()
}

// Apply takes in what has happened.
func (m *Copy) Apply(events []store.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = time.Time{}
	for _, e := range events {
		m.revision = e.Revision
		switch {
		case !m.keep(e.Key):
			continue
		case e.Deleted:
			delete(m.items, e.Key)
		case e.Revision >= m.items[e.Key].Revision: // what this process wrote is noted before its event comes
			m.items[e.Key] = e.Item
		}
		m.touch()
	}
}

// Note takes in what this process has just written, which its watch may not have yet.
func (m *Copy) Note(it store.Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it.Revision >= m.items[it.Key].Revision {
		m.items[it.Key] = it
		m.touch()
	}
}

// Take begins with what another one has.
func (m *Copy) Take(other *Copy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items, m.revision = other.items, other.revision
}

func (m *Copy) touch() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// answersAlone is how long the copy answers alone after the etcd did not.
const answersAlone = 5 * time.Second

// Down reports whether the etcd has just failed to answer.
func (m *Copy) Down() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.down)
}

// Failed notes that the etcd did not answer.
func (m *Copy) Failed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = time.Now().Add(answersAlone)
}

// Get returns what is remembered under a key.
func (m *Copy) Get(key string) (store.Item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.items[key]
	return it, ok
}

// Revision is how far the etcd was when it said what is remembered.
func (m *Copy) Revision() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision
}

// List returns what is remembered under a prefix, sorted.
func (m *Copy) List(prefix string) []store.Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []store.Item
	for _, key := range slices.Sorted(maps.Keys(m.items)) {
		if strings.HasPrefix(key, prefix) {
			out = append(out, m.items[key])
		}
	}
	return out
}

// Run writes the file after each change, until ctx ends.
func (m *Copy) Run(ctx context.Context) {
	for {
		changed := true
		select {
		case <-m.dirty:
		case <-ctx.Done():
			select {
			case <-m.dirty:
			default:
				changed = false // the file may be another process's by now
			}
		}
		_ = pause.For(ctx, gather)
		if changed {
			if err := m.save(); err != nil {
				m.logger.Error("what the catalog says is not remembered: a start without its etcd would serve an older state", "error", err)
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// heading is the line of the file after its first.
type heading struct {
	Revision int64     `json:"revision"`
	Records  int       `json:"records"`
	Saved    time.Time `json:"saved"`
}

// save writes the file: a line that says what it is, a line of JSON, each record as
// its key, revision and value with their lengths, and a SHA-256 of all that.
func (m *Copy) save() error {
	m.mu.Lock()
	head, err := json.Marshal(heading{m.revision, len(m.items), time.Now().UTC()})
	var b bytes.Buffer
	b.WriteString(magic)
	b.Write(head)
	b.WriteByte('\n')
	for _, it := range m.items {
		var n []byte
		n = binary.AppendUvarint(n, uint64(len(it.Key)))
		n = binary.AppendUvarint(n, uint64(it.Revision))
		n = binary.AppendUvarint(n, uint64(len(it.Value)))
		b.Write(n)
		b.WriteString(it.Key)
		b.Write(it.Value)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	return durable.WriteFile(m.Path, b.Bytes())
}

// Load reads the file. Without one found is false; a damaged one is an error.
func (m *Copy) Load() (found bool, err error) {
	data, err := os.ReadFile(m.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	head, items, err := parse(data)
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", store.ErrCorrupt, m.Path, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = head.Revision
	for _, it := range items {
		m.items[it.Key] = it
	}
	return true, nil
}

func parse(data []byte) (head heading, items []store.Item, err error) {
	body := len(data) - sha256.Size
	if body < len(magic) || !bytes.HasPrefix(data, []byte(magic)) {
		return head, nil, errors.New("it is not what this version writes")
	}
	if sum := sha256.Sum256(data[:body]); !bytes.Equal(sum[:], data[body:]) {
		return head, nil, errors.New("it does not match its checksum")
	}
	line, rest, _ := bytes.Cut(data[len(magic):body], []byte("\n"))
	if err := json.Unmarshal(line, &head); err != nil {
		return head, nil, err
	}
	for range head.Records {
		var n [3]uint64
		for i := range n {
			v, size := binary.Uvarint(rest)
			if size <= 0 {
				return head, nil, errors.New("a record is cut short")
			}
			n[i], rest = v, rest[size:]
		}
		if n[0] > uint64(len(rest)) || n[2] > uint64(len(rest))-n[0] {
			return head, nil, errors.New("a record is cut short")
		}
		key, value := rest[:n[0]], rest[n[0]:n[0]+n[2]]
		rest = rest[n[0]+n[2]:]
		items = append(items, store.Item{Key: string(key), Value: value, Revision: int64(n[1])})
	}
	return head, items, nil
}
