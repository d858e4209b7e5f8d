package logs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

const (
	defaultLines = 200
	maxLines     = 10000
	sinceBytes   = 8 << 20 // read at most from the end of a log where a time is given
	followPoll   = 250 * time.Millisecond
	followWrite  = 30 * time.Second
)

// query is what is asked for of a site's logs.
type query struct {
	site     string
	instance string // the beginning of an id; empty: any
	release  string // see ids.NamesRelease; empty: any
	since    time.Time
	lines    int // the last ones of each instance
	follow   bool
}

// all reports whether logs of ended instances are asked for as well.
func (q *query) all() bool { return q.instance != "" || q.release != "" || !q.since.IsZero() }

// takes reports whether an instance's log is asked for.
func (q *query) takes(instance string, about logAbout) bool {
	if instance == Commands {
		return q.instance == Commands
	}
	return strings.HasPrefix(instance, q.instance) && (q.release == "" || ids.NamesRelease(q.release, about.release))
}

func parseLogQuery(r *http.Request) (query, error) {
	v := r.URL.Query()
	q := query{site: r.PathValue("site"), instance: v.Get("instance"), release: v.Get("release"), lines: defaultLines}
	if text := v.Get("lines"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxLines {
			return q, fmt.Errorf("lines %q: write a number from 0 to %d", text, maxLines)
		}
		q.lines = n
	}
	if text := v.Get("since"); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return q, fmt.Errorf("since %q: write a time as in RFC 3339", text)
		}
		q.since = at
	}
	q.follow, _ = strconv.ParseBool(v.Get("follow"))
	if err := folders.SafeName(q.site); err != nil || q.instance != "" && folders.SafeName(q.instance) != nil {
		return q, errors.New("not a site or instance name")
	}
	return q, nil
}

// Serve sends the end of a site's logs as a messages.LogLine a line, and with follow=true
// what is written from then on. Query: lines (200) of each instance, since, instance and release. Without
// the last three it is the instances that live and the one that wrote last.
func (k *Keeper) Serve(w http.ResponseWriter, r *http.Request) {
	q, err := parseLogQuery(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := &sender{k: k, q: q, dir: k.folder(q.site), at: map[string]*place{}, w: w, rc: http.NewResponseController(w)}
	found, err := s.list()
	if err != nil {
		http.Error(w, fmt.Sprintf("site %s has no log on %s", q.site, k.Member), http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if err := s.send(r.Context(), found); err != nil {
		k.Logger.Debug("log not sent", "site", q.site, "error", err)
	}
}

// sender sends the logs of a site, each from where it has come to.
type sender struct {
	k   *Keeper
	q   query
	dir string            // of the site's logs
	at  map[string]*place // by instance
	w   http.ResponseWriter
	rc  *http.ResponseController
}

// place is how far a log was sent.
type place struct {
	about  logAbout
	offset int64
	open   []byte // the beginning of a line whose end was not written yet
}

// list returns the instances that have a log, the one that wrote last at the end.
func (s *sender) list() ([]string, error) {
	logs, err := beneath.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	names, err := logs.Names()
	if err != nil {
		return nil, err
	}
	written := map[string]time.Time{}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, logSuffix)
		if !ok {
			continue
		}
		if fi, err := logs.Lstat(name); err == nil {
			written[id] = fi.ModTime()
		}
	}
	if len(written) == 0 {
		return nil, fs.ErrNotExist
	}
	return slices.SortedFunc(maps.Keys(written), func(x, y string) int {
		return cmp.Or(written[x].Compare(written[y]), cmp.Compare(x, y))
	}), nil
}

// send sends what there is, in the order of time, and then what comes.
func (s *sender) send(ctx context.Context, found []string) error {
	var lines []messages.LogLine
	last := ""
	for _, id := range found {
		if id != Commands {
			last = id
		}
	}
	for _, id := range found {
		p := s.place(id)
		if !s.q.takes(id, p.about) {
			continue
		}
		list, err := s.tail(id, p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if s.q.all() || id == last || s.k.Live(id) {
			lines = append(lines, list...)
		}
	}
	slices.SortStableFunc(lines, func(x, y messages.LogLine) int { return x.At.Compare(y.At) })
	if err := s.write(lines); err != nil || !s.q.follow {
		return err
	}
	return s.follow(ctx)
}

// place returns how far a log was sent, for one that was not known from its beginning on.
func (s *sender) place(id string) *place {
	p := s.at[id]
	if p == nil {
		p = &place{}
		if logs, err := beneath.Open(s.dir); err == nil {
			p.about = readTimes(logs, id)
			_ = logs.Close()
		}
		s.at[id] = p
	}
	return p
}

// tail returns the last lines of a log, and goes to its end.
func (s *sender) tail(id string, p *place) ([]messages.LogLine, error) {
	f, err := readLog(s.dir, id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	end, from, most := fi.Size(), int64(0), int64(tailBytes)
	if !s.q.since.IsZero() {
		from, most = p.about.from(s.q.since), sinceBytes
	}
	data := make([]byte, min(end-min(from, end), most))
	from = end - int64(len(data))
	n, err := f.ReadAt(data, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	p.offset = from
	lines := s.take(id, p, data[:n], fi.ModTime())
	if !s.q.follow && len(p.open) > 0 { // nobody waits for its end
		lines = append(lines, s.line(id, p, p.open, p.offset, fi.ModTime()))
	}
	lines = slices.DeleteFunc(lines, func(l messages.LogLine) bool { return l.At.Before(s.q.since) })
	return lines[max(0, len(lines)-s.q.lines):], nil
}

// take makes lines of what was read at a log's place, and moves on.
func (s *sender) take(id string, p *place, data []byte, until time.Time) []messages.LogLine {
	var lines []messages.LogLine
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		p.offset += int64(len(data) - len(rest))
		data = rest
		p.open = append(p.open, line[:min(len(line), lineBytes-min(lineBytes, len(p.open)))]...)
		if whole {
			lines = append(lines, s.line(id, p, p.open, p.offset-1, until))
			p.open = p.open[:0]
		}
	}
	return lines
}

func (s *sender) line(id string, p *place, text []byte, offset int64, until time.Time) messages.LogLine {
	text = bytes.TrimSuffix(text, []byte("\r"))
	return messages.LogLine{At: p.about.at(offset, until).UTC(), Instance: id, Release: p.about.release, Text: strings.ToValidUTF8(string(text), "\uFFFD")}
}

// follow sends what is written, also by instances that come, until ctx ends.
func (s *sender) follow(ctx context.Context) error {
	t := time.NewTicker(followPoll)
	defer t.Stop()
	for {
		if err := s.rc.Flush(); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		case <-s.k.Stopped:
			return nil
		}
		found, err := s.list()
		if err != nil {
			continue // the site was removed, or comes back
		}
		for _, id := range found {
			p := s.place(id)
			if !s.q.takes(id, p.about) {
				continue
			}
			if err := s.more(id, p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
}

// more sends what a log holds from its place on. A log that was cut begins anew.
func (s *sender) more(id string, p *place) error {
	f, err := readLog(s.dir, id)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.Size() == p.offset {
		return err
	}
	p.about.marks = nil // they are of what was sent
	if fi.Size() < p.offset {
		p.offset, p.open = 0, nil
	}
	buf := make([]byte, 64<<10)
	for p.offset < fi.Size() {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), fi.Size()-p.offset)], p.offset)
		if n > 0 {
			if err := s.write(s.take(id, p, buf[:n], fi.ModTime())); err != nil {
				return err
			}
		}
		if err != nil {
			break
		}
	}
	return nil
}

func (s *sender) write(lines []messages.LogLine) error {
	if len(lines) == 0 {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(followWrite))
	_, err := s.w.Write(b.Bytes())
	return err
}
