package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"log"
)

const (
	defaultLines = 200
	maxLines     = 10000
	followPoll   = 250 * time.Millisecond
	followWrite  = 30 * time.Second
)

// serveAgent answers proxies about this member.
func (a *Agent) serveAgent(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"member": a.o.Name, "version": a.o.Version, "revision": a.Wanted().Revision})
	})
	mux.HandleFunc("GET /v1/logs/{site}", a.serveLogs)
	mux.ServeHTTP(w, r)
}

// serveLogs sends the end of a site's log as plain text, and with follow=true
// what is written from then on. Query: lines (200), instance (the one that began
// last), commands=true for the output of the site's commands.
func (a *Agent) serveLogs(w http.ResponseWriter, r *http.Request) {
	site, q := r.PathValue("site"), r.URL.Query()
	lines := defaultLines
	if v := q.Get("lines"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > maxLines {
			http.Error(w, fmt.Sprintf("lines %q: write a number from 0 to %d", v, maxLines), http.StatusBadRequest)
			return
		}
		lines = n
	}
	follow, _ := strconv.ParseBool(q.Get("follow"))
	instance := q.Get("instance")
	if c, _ := strconv.ParseBool(q.Get("commands")); c {
		instance = commandLog
	}
	if err := safeName(site); err != nil || instance != "" && safeName(instance) != nil {
		http.Error(w, "not a site or instance name", http.StatusBadRequest)
		return
	}
	name, err := newestLog(a.dirs(site), instance)
	if err != nil {
		http.Error(w, fmt.Sprintf("site %s has no log on %s", site, a.o.Name), http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if err := a.sendLog(r.Context(), w, a.dirs(site), instance, name, lines, follow); err != nil {
		a.log.Debug("log not sent", "site", site, "error", err)
	}
}

// newestLog returns the log of an instance, or the one of a site's instances
// that was written to last.
func newestLog(d siteDirs, instance string) (string, error) {
	if instance != "" {
		_, err := os.Lstat(d.log(instance))
		return d.log(instance), err
	}
	names, _ := filepath.Glob(filepath.Join(d.logs(), "*.log"))
	var newest string
	var at time.Time
	for _, name := range names {
		fi, err := os.Lstat(name)
		if err == nil && filepath.Base(name) != commandLog+".log" && (newest == "" || fi.ModTime().After(at)) {
			newest, at = name, fi.ModTime()
		}
	}
	if newest == "" {
		return "", fs.ErrNotExist
	}
	return newest, nil
}

// sendLog writes lines of a log and then, when following, what comes; it turns
// to the log of a newer instance when there is one.
func (a *Agent) sendLog(ctx context.Context, w http.ResponseWriter, d siteDirs, instance, name string, lines int, follow bool) error {
	rc := http.NewResponseController(w)
	out := func(text []byte) error {
		_ = rc.SetWriteDeadline(time.Now().Add(followWrite))
		_, err := w.Write(text)
		return err
	}
	at, err := sendTail(name, lines, out)
	if err != nil || !follow {
		return err
	}
	t := time.NewTicker(followPoll)
	defer t.Stop()
	for {
		if err := rc.Flush(); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		case <-a.stopped:
			return nil
		}
		if at, err = sendFrom(name, at, out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if newest, err := newestLog(d, instance); err == nil && newest != name {
			name, at = newest, 0
		}
	}
}

// sendTail sends the last lines of a log and returns where it ended.
func sendTail(name string, n int, out func([]byte) error) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	list, err := tailFrom(name, 0, n)
	if err != nil {
		return 0, err
	}
	if n == 0 || len(list) == 0 {
		return end, nil
	}
	return end, out([]byte(strings.Join(list, "\n") + "\n"))
}

// sendFrom sends what a log holds from an offset on and returns its end. A log
// that was cut begins anew.
func sendFrom(name string, at int64, out func([]byte) error) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return at, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return at, err
	}
	if end < at {
		at = 0
	}
	buf := make([]byte, 64<<10)
	for at < end {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if n > 0 {
			at += int64(n)
			if err := out(clean(buf[:n])); err != nil {
				return at, err
			}
		}
		if err != nil {
			break
		}
	}
	return at, nil
}

// clean takes control characters out of a piece of a log, but keeps its lines.
func clean(b []byte) []byte {
	return slices.DeleteFunc(slices.Clone(b), func(c byte) bool { return c < ' ' && c != '\n' && c != '\t' || c == 0x7f })
}

// quiet makes the standard library's server log at debug level: what it has to
// say concerns single connections.
func quiet(l *slog.Logger) *log.Logger {
	return log.New(debugWriter{l}, "", 0)
}

type debugWriter struct{ l *slog.Logger }

// Write implements io.Writer.
func (w debugWriter) Write(p []byte) (int, error) {
	w.l.Debug(string(bytes.TrimSpace(p)))
	return len(p), nil
}
