// Package logs reads the log lines of a site's instances from all application servers at once, for a proxy that shows them, and follows
// them for as long as somebody reads. Lines are written and kept by deployhook/agent/logs.
package logs

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"portico/conf/sites"
	"portico/deployhook/reply"
	"portico/membership/catalog"
)

// Query says which log lines are asked for.
type Query struct {
	Site     string
	Member   string    // empty: all application servers
	Instance string    // the beginning of an id, or "commands"; empty: any
	Release  string    // see catalog.NamesRelease; empty: any
	Since    time.Time // zero: from the beginning
	Lines    int       // the last ones of each instance; below 0: the agent's default
	Follow   bool      // go on until the context ends
	JSON     bool      // each line as a catalog.LogLine
}

const (
	// connectTime bounds the wait for a member's first line.
	connectTime = 10 * time.Second
	// maxLine is the longest line that is passed on; the rest of it is dropped.
	maxLine = 64 << 10
)

// Reader asks application servers for their lines.
type Reader struct {
	Catalog *catalog.Catalog

	// Agent returns a client for a service of a member's agent and the URL to put in front of a path.
	Agent func(m catalog.Member, service string) (*http.Client, string, error)

	// Silence is for how long a member has given no sign of life.
	Silence func(member string) time.Duration
}

// Copy copies the log lines of a site's instances to w, each with its time, its member and its
// release in front, in the order of time; those that come later as they come. A member that cannot be
// asked is a line of its own, not an error.
func (r *Reader) Copy(ctx context.Context, w io.Writer, q Query) error {
	v := r.Catalog.View()
	if v.Sites[q.Site] == nil {
		return reply.Refuse(http.StatusNotFound, "not_found", "portico sites lists them", "there is no site %q", q.Site)
	}
	if r.Agent == nil {
		return errors.New("BUG: logs without Options.Agent")
	}
	out := &lineWriter{w: w, json: q.JSON, gathers: !q.Follow}
	var wg sync.WaitGroup
	asked := 0
	for _, m := range v.Servers(sites.Settings{}) {
		if q.Member != "" && q.Member != m.Name {
			continue
		}
		asked++
		wg.Go(func() {
			if q.Follow {
				r.follow(ctx, out, *m, q)
			} else if err := r.read(ctx, out, *m, q, nil); err != nil && ctx.Err() == nil && !errors.Is(err, errNoLog) {
				out.unread(m.Name, err.Error())
			}
		})
	}
	wg.Wait()
	if asked == 0 && q.Member != "" {
		return reply.Refuse(http.StatusNotFound, "not_found", "portico members lists them", "there is no application server %q", q.Member)
	}
	if picky := q.Instance != "" || q.Release != ""; picky && q.Since.IsZero() && !q.Follow && len(out.lines) == 0 {
		return reply.Refuse(http.StatusNotFound, "not_found", "portico logs without it shows what there is; the logs of those that ended long ago are gone",
			"the logs of %q have no line of %s", q.Site, q.whose())
	}
	return out.end()
}

// whose names what was asked for.
func (q *Query) whose() string {
	switch {
	case q.Instance == "":
		return fmt.Sprintf("release %q", q.Release)
	case q.Release == "":
		return fmt.Sprintf("instance %q", q.Instance)
	}
	return fmt.Sprintf("instance %q of release %q", q.Instance, q.Release)
}

// read copies one member's lines. seen, which may be nil, is called once they begin.
func (r *Reader) read(ctx context.Context, out *lineWriter, m catalog.Member, q Query, seen func()) error {
	client, base, err := r.Agent(m, "agent")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/logs/"+url.PathEscape(q.Site)+"?"+q.values().Encode(), nil)
	if err != nil {
		return err
	}
	connect := time.AfterFunc(connectTime, func() { cancel(errLate) })
	res, err := client.Do(req)
	connect.Stop()
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNoLog
	default:
		return fmt.Errorf("it answers %s", res.Status)
	}
	if seen != nil {
		seen()
	}
	if err := copyLines(out, m.Name, res.Body); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

var (
	errNoLog = errors.New("the site does not run there")
	errLate  = fmt.Errorf("no answer within %v", connectTime)
)

// values is what an agent is asked.
func (q *Query) values() url.Values {
	values := url.Values{}
	if q.Lines >= 0 {
		values.Set("lines", strconv.Itoa(q.Lines))
	}
	if q.Follow {
		values.Set("follow", "1")
	}
	if q.Instance != "" {
		values.Set("instance", q.Instance)
	}
	if q.Release != "" {
		values.Set("release", q.Release)
	}
	if !q.Since.IsZero() {
		values.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	return values
}

func copyLines(out *lineWriter, member string, r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !out.line(parseLine(member, line)) {
			return nil
		}
		for more && err == nil { // drop the rest of an endless line
			_, more, err = in.ReadLine()
		}
	}
}

// parseLine reads a line of an agent's answer.
func parseLine(member string, data []byte) catalog.LogLine {
	var l catalog.LogLine
	if err := json.Unmarshal(data, &l); err != nil || l.At.IsZero() {
		l = catalog.LogLine{At: time.Now().UTC(), Text: string(data)} // not as it should be, but of use
	}
	l.Member = member
	return l
}

// lineWriter writes whole lines from several goroutines.
type lineWriter struct {
	mu      sync.Mutex
	w       io.Writer
	json    bool
	gathers bool // until end, which brings them in order
	lines   []catalog.LogLine
	failed  error

	last map[string]*LastLines // by member, of those that are followed
}

// line takes one line and reports whether the reader is still there.
func (l *lineWriter) line(line catalog.LogLine) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gathers {
		l.lines = append(l.lines, line)
		return true
	}
	if last := l.last[line.Member]; last != nil && line.Instance != "" && last.Known(line.At, line.Release+" "+line.Instance+" "+line.Text) {
		return l.failed == nil
	}
	l.write(line)
	if f, ok := l.w.(http.Flusher); ok && l.failed == nil {
		f.Flush()
	}
	return l.failed == nil
}

// write writes one line; l.mu is held.
func (l *lineWriter) write(line catalog.LogLine) {
	switch {
	case l.failed != nil:
	case l.json:
		enc := json.NewEncoder(l.w)
		enc.SetEscapeHTML(false)
		l.failed = enc.Encode(line)
	default:
		from := line.Member
		if line.Release != "" {
			from += " " + catalog.ShortRelease(line.Release)
		}
		_, l.failed = fmt.Fprintf(l.w, "%s %s | %s\n", line.At.UTC().Format(timeForm), from, harmless(line.Text))
	}
}

// timeForm is how a line's time is written: the digits are as many as are known.
const timeForm = "2006-01-02T15:04:05.000Z"

// end writes what was gathered, in the order of time.
func (l *lineWriter) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.lines, func(a, b catalog.LogLine) int { return a.At.Compare(b.At) })
	for _, line := range l.lines {
		l.write(line)
	}
	return l.failed
}

// harmless takes what could steer a terminal or forge a line out of a site's own
// words. Colours stay: ESC [ numbers m.
func harmless(text string) string {
	if !strings.ContainsFunc(text, steers) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := colour(text[i:]); n > 0 {
			b.WriteString(text[i : i+n])
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if steers(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

func steers(r rune) bool { return r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// colour returns the length of the colour sequence that s begins with, or 0.
func colour(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "0123456789;")
	if !strings.HasPrefix(rest, "m") {
		return 0
	}
	return len(s) - len(rest) + 1
}
