package frontdoor

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"portico/deployhook"
	"portico/proxy/admin/api"
)

// duckNoteFile is where a process from which another has taken over says in the state folder what it still
// has. What a process leaves that was killed does not count.
const duckNoteFile = "former-%d.json"

// duckNote is what a lame duck tells of itself.
type duckNote struct {
	file string
	log  *slog.Logger
	api.Predecessor
}

func newDuckNote(dir string, since time.Time, lasts time.Duration, log *slog.Logger) *duckNote {
	pid := os.Getpid()
	return &duckNote{file: filepath.Join(dir, fmt.Sprintf(duckNoteFile, pid)), log: log, Predecessor: api.Predecessor{PID: pid, Since: since, Until: since.Add(lasts), Streams: -1}}
}

// tell writes how many streams there are, if that is news.
func (f *duckNote) tell(streams int) {
	if f.Streams == streams {
		return
	}
	f.Streams = streams
	text, err := json.Marshal(f.Predecessor)
	if err == nil {
		err = os.WriteFile(f.file+".tmp", text, 0o600)
	}
	if err == nil {
		err = os.Rename(f.file+".tmp", f.file)
	}
	if err != nil {
		f.log.Warn("portico members does not show what this process still has", "streams", streams, "error", err)
	}
}

func (f *duckNote) remove() { _ = os.Remove(f.file) }

// predecessors are the processes that this one or one before it has taken over from, and that have streams yet.
func (p *Proxy) predecessors() (list []api.Predecessor) {
	names, _ := filepath.Glob(filepath.Join(p.conf.Dir, "former-*.json"))
	for _, name := range names {
		var one api.Predecessor
		text, err := os.ReadFile(name)
		if err != nil || json.Unmarshal(text, &one) != nil || one.PID <= 0 || one.PID == os.Getpid() {
			continue
		}
		running, err := os.FindProcess(one.PID)
		if err == nil {
			err = running.Signal(syscall.Signal(0))
		}
		switch {
		case err != nil && !errors.Is(err, os.ErrPermission):
			_ = os.Remove(name)
		case one.Streams > 0:
			one.Unheard = p.predecessor == nil || p.silent.Load()
			if one.Until.IsZero() { // of a version that did not say
				one.Until = one.Since.Add(p.conf.Proxy.Timeouts.Tunnels.Std())
			}
			list = append(list, one)
		}
	}
	return list
}

// load is what is held for an instance. Nobody may stop one on this process's word while a predecessor has streams
// of whose sessions it does not hear: their line has broken, as the process that they were left to was killed.
func (p *Proxy) load(instance string) (sessions, inflight int, known bool) {
	sessions, inflight, known = p.web.Load(instance)
	return sessions, inflight, known && len(p.unheard()) == 0
}

// unheard are the predecessors that have streams and no line to this one.
func (p *Proxy) unheard() (list []deployhook.Unheard) {
	for _, x := range p.predecessors() {
		if x.Unheard {
			list = append(list, deployhook.Unheard{Proxy: p.conf.Proxy.Name, PID: x.PID, Streams: x.Streams, Until: x.Until})
		}
	}
	return list
}

// warnUnheard says once of each such process what will wait for it.
func (p *Proxy) warnUnheard(warned map[int]bool, now time.Time) {
	for _, u := range p.unheard() {
		if !warned[u.PID] {
			warned[u.PID] = true
			p.log.Warn("an old process has streams and no line to this one: drains wait until it has ended, and so do the instances of former releases",
				"pid", u.PID, "streams", u.Streams, "ends_within", u.Until.Sub(now).Round(time.Minute).String(), "remedy", fmt.Sprintf("kill %d cuts its streams", u.PID))
		}
	}
}
