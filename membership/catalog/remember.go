package catalog

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

	clientv3 "go.etcd.io/etcd/client/v3"

	"portico/internal/pause"
)

// fileRemembered holds what an outside etcd said last, so that a proxy which starts
// while that is away serves the last known state.
const fileRemembered = "remembered"

const (
	rememberMagic = "portico remembers a catalog 1\n"

	// rememberPause gathers the changes of a while into one write of the file. A
	// crash loses so much of what was remembered; the etcd has it.
	rememberPause = time.Second
)

// memory is a copy of the records of an outside etcd, in memory and in a file.
// Secrets are in it as they are stored, sealed.
type memory struct {
	path   string
	logger *slog.Logger
	sealer *sealer

	mu       sync.Mutex
	items    map[string]item // guarded by mu
	revision int64           // guarded by mu
	down     time.Time       // until then the etcd is not asked for what is here too; guarded by mu

	dirty chan struct{} // capacity 1
}

func newMemory(dir string, logger *slog.Logger, s *sealer) *memory {
	return &memory{path: filepath.Join(dir, fileRemembered), logger: logger, sealer: s, items: map[string]item{}, dirty: make(chan struct{}, 1)}
}

// memorable reports whether a key is kept: what only those need who can reach the
// etcd is not.
func memorable(key string) bool {
	switch prefix, _ := splitKey(key); prefix {
	case preAudit, preGen, "locks/":
		return false
	}
	return true
}

// replace forgets everything in favour of items.
func (m *memory) replace(items []item, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.items)
	for _, it := range items {
		if memorable(it.key) {
			m.items[it.key] = it
		}
	}
	m.revision, m.down = revision, time.Time{}
	m.touch()
}

// apply takes in what has happened.
func (m *memory) apply(events []*clientv3.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = time.Time{}
	for _, e := range events {
		key := string(e.Kv.Key)
		m.revision = e.Kv.ModRevision
		switch {
		case !memorable(key):
			continue
		case e.Type == clientv3.EventTypeDelete:
			delete(m.items, key)
		case e.Kv.ModRevision >= m.items[key].revision: // what this process wrote is noted before its event comes
			m.items[key] = item{key, e.Kv.Value, e.Kv.ModRevision}
		}
		m.touch()
	}
}

// note takes in what this process has just written, which its watch may not have yet.
func (m *memory) note(it item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it.revision >= m.items[it.key].revision {
		m.items[it.key] = it
		m.touch()
	}
}

// take begins with what another one has.
func (m *memory) take(other *memory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items, m.revision = other.items, other.revision
}

func (m *memory) touch() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// memoryAnswers is how long the memory answers alone after the etcd did not.
const memoryAnswers = 5 * time.Second

// isDown reports whether the etcd has just failed to answer.
func (m *memory) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.down)
}

// failed notes that the etcd did not answer.
func (m *memory) failed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = time.Now().Add(memoryAnswers)
}

// get returns what is remembered under a key.
func (m *memory) get(key string) (item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.items[key]
	return it, ok
}

// list returns what is remembered under a prefix, sorted.
func (m *memory) list(prefix string) []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []item
	for _, key := range slices.Sorted(maps.Keys(m.items)) {
		if strings.HasPrefix(key, prefix) {
			out = append(out, m.items[key])
		}
	}
	return out
}

// run writes the file after each change, until ctx ends.
func (m *memory) run(ctx context.Context) {
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
		_ = pause.For(ctx, rememberPause)
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

// rememberedHead is the line of the file after its first.
type rememberedHead struct {
	Revision int64     `json:"revision"`
	Records  int       `json:"records"`
	Saved    time.Time `json:"saved"`
}

// save writes the file: a line that says what it is, a line of JSON, each record as
// its key, revision and value with their lengths, and a SHA-256 of all that.
func (m *memory) save() error {
	m.mu.Lock()
	head, err := json.Marshal(rememberedHead{m.revision, len(m.items), time.Now().UTC()})
	var b bytes.Buffer
	b.WriteString(rememberMagic)
	b.Write(head)
	b.WriteByte('\n')
	for _, it := range m.items {
		var n []byte
		n = binary.AppendUvarint(n, uint64(len(it.key)))
		n = binary.AppendUvarint(n, uint64(it.revision))
		n = binary.AppendUvarint(n, uint64(len(it.value)))
		b.Write(n)
		b.WriteString(it.key)
		b.Write(it.value)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	return writeFile(m.path, b.Bytes(), 0o600)
}

// load reads the file. Without one found is false; a damaged one is an error.
func (m *memory) load() (found bool, err error) {
	data, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	head, items, err := parseRemembered(data)
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrCorrupt, m.path, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = head.Revision
	for _, it := range items {
		m.items[it.key] = it
	}
	return true, nil
}

func parseRemembered(data []byte) (head rememberedHead, items []item, err error) {
	body := len(data) - sha256.Size
	if body < len(rememberMagic) || !bytes.HasPrefix(data, []byte(rememberMagic)) {
		return head, nil, errors.New("it is not what this version writes")
	}
	if sum := sha256.Sum256(data[:body]); !bytes.Equal(sum[:], data[body:]) {
		return head, nil, errors.New("it does not match its checksum")
	}
	line, rest, _ := bytes.Cut(data[len(rememberMagic):body], []byte("\n"))
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
		items = append(items, item{string(key), value, int64(n[1])})
	}
	return head, items, nil
}

// view makes a view of what is remembered.
func (m *memory) view() (*View, error) {
	b := newBuilder(emptyView(), m.sealer)
	for _, it := range m.list("") {
		if err := b.put(it); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return b.finish(m.revision), nil
}
