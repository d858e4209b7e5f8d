package proxy

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// LogFormat says how lines of the access log are written.
type LogFormat string

// The formats of the access log.
const (
	LogJSON    LogFormat = "json"    // one JSON object a line
	LogHAProxy LogFormat = "haproxy" // HAProxy's "option httplog", so that its tools read it
	LogOff     LogFormat = "off"
)

// Record is one finished exchange, as the access log sees it. Times are counted
// from the first byte of the request; a negative duration means that the
// exchange never came that far.
type Record struct {
	ID        uint64         // the exchange's number, see Server.Recent; JSON only
	At        time.Time      // when the request began
	Client    netip.AddrPort // peer, with the visitor's address where a trusted proxy named it
	TLS       bool
	Frontend  string // "http" or "https"
	Site      string // empty: none was found
	Member    string // where the instance runs
	Instance  string // id; empty: portico answered by itself
	Method    string
	Host      string
	Target    string // request target as it came
	Proto     string // "HTTP/1.1"
	Status    int
	BytesIn   int64 // from the client, with the request's head
	BytesOut  int64 // sent: heads and bodies; over HTTP/2, heads as they would be in HTTP/1.1
	Request   time.Duration
	Queue     time.Duration
	Connect   time.Duration
	Response  time.Duration
	Total     time.Duration
	End       [4]byte // HAProxy's termination state: cause, phase, cookie seen, cookie sent
	Active    int     // client connections of the process
	Inflight  int     // requests at the instance
	SiteReqs  int     // requests at the site
	Retries   int
	Tries     []Try  // those that failed before the last one, in order
	Moved     bool   // the last try was at another instance
	QueueLen  int    // requests that waited before this one
	UserAgent string // JSON only
	Referer   string // JSON only, without its query
	Session   string // cause, when a session was lost
	Error     string // of the last try; JSON only

	addr []byte // Client's address in text, where somebody has it; nil: nobody
}

// Try is one that failed before another was made.
type Try struct {
	Instance string // "server-1-4f2a11"
	Error    string
}

// again notes that a try has failed and another one is made: how the request ends is up to that one.
func (r *Record) again(instance string, err error) {
	r.Tries = append(r.Tries, Try{Instance: instance, Error: err.Error()})
	r.Error, r.Moved = "", true
	r.Retries++
}

// maxLogBacklog bounds what waits for a slow disk. Past it lines are dropped
// and counted: a proxy that waits for its log has stopped being one.
const maxLogBacklog = 4 << 20

// AccessLog writes one line a request. Append formats into memory and returns;
// a goroutine of its own does the writing, so that no request ever waits for a
// disk. Create one with NewAccessLog and Close it.
type AccessLog struct {
	format LogFormat
	path   string
	lost   atomic.Uint64
	lines  atomic.Uint64

	mu     sync.Mutex
	buf    logChunks // guarded by mu
	words  words     // guarded by mu
	closed bool      // guarded by mu

	wake   chan struct{}
	quit   chan struct{} // closed by Close
	reopen chan chan error
	flush  chan chan error
	done   chan struct{}
}

// NewAccessLog opens path for appending ("-": w, which may be os.Stdout) and
// starts the writer. A nil *AccessLog is valid and writes nothing.
func NewAccessLog(format LogFormat, path string, w io.Writer) (*AccessLog, error) {
	switch format {
	case LogOff:
		return nil, nil
	case LogJSON, LogHAProxy:
	default:
		return nil, fmt.Errorf("access log: format %q is not known, use json, haproxy or off", format)
	}
	l := &AccessLog{
		format: format, path: path,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), reopen: make(chan chan error), flush: make(chan chan error), done: make(chan struct{}),
	}
	var f *os.File
	if path != "" && path != "-" {
		var err error
		if f, err = openLog(path); err != nil {
			return nil, err
		}
		w, l.buf.at = f, sizeOf(f)
	}
	if w == nil {
		w = io.Discard
	}
	go l.run(w, f)
	return l, nil
}

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return f, nil
}

// Append adds the line for r. It never blocks on I/O; when too much waits
// already, the line is dropped and counted.
func (l *AccessLog) Append(r *Record) {
	if l == nil {
		return
	}
	l.mu.Lock()
	if l.closed || l.buf.waiting > maxLogBacklog {
		l.mu.Unlock()
		l.lost.Add(1)
		return
	}
	line := l.buf.room()
	if l.format == LogHAProxy {
		line = AppendHAProxy(line, r)
	} else {
		line = appendJSON(line, r, &l.words)
	}
	tell := l.buf.add(line)
	l.mu.Unlock()
	l.lines.Add(1)
	if tell {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Lost returns how many lines were dropped, and Lines how many were taken.
func (l *AccessLog) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// Lines returns how many lines were taken for writing.
func (l *AccessLog) Lines() uint64 {
	if l == nil {
		return 0
	}
	return l.lines.Load()
}

// Reopen closes the file and opens its path anew, for rotation: move the file
// away, then call this (SIGHUP). On an error the old file stays in use.
func (l *AccessLog) Reopen() error { return l.ask(func() chan chan error { return l.reopen }) }

// Flush returns once everything appended before it has been written.
func (l *AccessLog) Flush() error { return l.ask(func() chan chan error { return l.flush }) }

func (l *AccessLog) ask(ch func() chan chan error) error {
	if l == nil {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case ch() <- answer:
		return <-answer
	case <-l.done:
		return nil
	}
}

// Close writes what is left and stops. It may be called twice.
func (l *AccessLog) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.quit)
	}
	<-l.done
	return nil
}
