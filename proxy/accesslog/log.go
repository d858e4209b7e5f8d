// Package accesslog writes what became of each request down: one line, as JSON or as HAProxy
// writes it, without a credential in it. No request ever waits for the disk.
package accesslog

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"portico/proxy/exchange/account"
)

// Format says how lines of the access log are written.
type Format string

// The formats of the access log.
const (
	JSON    Format = "json"    // one JSON object a line
	HAProxy Format = "haproxy" // HAProxy's "option httplog", so that its tools read it
	Off     Format = "off"
)

// maxBacklog bounds what waits for a slow disk. Past it lines are dropped
// and counted: a proxy that waits for its log has stopped being one.
const maxBacklog = 4 << 20

// Log writes one line a request. Append formats into memory and returns;
// a goroutine of its own does the writing, so that no request ever waits for a
// disk. Create one with New and Close it.
type Log struct {
	format Format
	path   string
	lost   atomic.Uint64

	mu     sync.Mutex
	buf    chunks // guarded by mu
	words  words  // guarded by mu
	closed bool   // guarded by mu

	wake   chan struct{}
	quit   chan struct{} // closed by Close
	reopen chan chan error
	done   chan struct{}
}

// New opens path for appending ("-": w, which may be os.Stdout) and
// starts the writer. A nil *Log is valid and writes nothing.
func New(format Format, path string, w io.Writer) (*Log, error) {
	switch format {
	case Off:
		return nil, nil
	case JSON, HAProxy:
	default:
		return nil, fmt.Errorf("access log: format %q is not known, use json, haproxy or off", format)
	}
	l := &Log{
		format: format, path: path,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), reopen: make(chan chan error), done: make(chan struct{}),
	}
	var f *os.File
	if path != "" && path != "-" {
		var err error
		if f, err = open(path); err != nil {
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

func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return f, nil
}

// Append adds the line for r. It never blocks on I/O; when too much waits
// already, the line is dropped and counted.
func (l *Log) Append(r *account.Record) {
	if l == nil {
		return
	}
	l.mu.Lock()
	if l.closed || l.buf.waiting > maxBacklog {
		l.mu.Unlock()
		l.lost.Add(1)
		return
	}
	line := l.buf.room()
	if l.format == HAProxy {
		line = AppendHAProxy(line, r)
	} else {
		line = appendJSON(line, r, &l.words)
	}
	tell := l.buf.add(line)
	l.mu.Unlock()
	if tell {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Lost returns how many lines were dropped.
func (l *Log) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// Reopen closes the file and opens its path anew, for rotation: move the file
// away, then call this (SIGHUP). On an error the old file stays in use.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case l.reopen <- answer:
		return <-answer
	case <-l.done:
		return nil
	}
}

// Close writes what is left and stops. It may be called twice.
func (l *Log) Close() error {
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
