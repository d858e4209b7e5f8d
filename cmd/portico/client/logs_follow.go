package client

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

const (
	// Agents know when a line was written to about a second. What was written last before a break is asked for once more.
	logOverlap = 3 * time.Second
	// A server that was silent for longer than another one is asked for no more than this: its clock is hardly wrong by so much.
	logSkew = time.Minute
	// A stream that ends sooner, and in order, has nobody to follow.
	logShort = time.Second
)

// followLogs prints lines until the context ends. It outlives a proxy that is away.
func followLogs(cmd *cobra.Command, c *apiclient.Client, q api.LogQuery) error {
	ctx := cmd.Context()
	if _, err := c.Sites(ctx); err != nil { // a proxy that was never there is an error
		return err
	}
	line := screen.NewStatusLine(cmd.ErrOrStderr()) // the output is the lines'
	tell := screen.TellAway(line, "the lines go on when it is back")
	if q.JSON {
		tell = screen.TellAwayJSON(cmd, "the lines go on when it is back")
	}
	patient := c.Patient(waitAlong(tell))
	f := &logFollower{out: cmd.OutOrStdout(), json: q.JSON, began: time.Now(), last: map[string]*lastLines{}}
	for {
		began := time.Now()
		err := c.Logs(ctx, f.query(q), f)
		switch {
		case f.failed != nil:
			return f.failed
		case err != nil && !apiclient.IsAway(err), err == nil && time.Since(began) < logShort:
			return err
		}
		if err := pause.For(ctx, logShort/2); err != nil {
			return err
		}
		if _, err := patient.Sites(ctx); err != nil {
			return err
		}
	}
}

// logFollower prints lines, and after a break those that were not printed before.
type logFollower struct {
	out    io.Writer
	json   bool
	began  time.Time
	part   []byte                // the beginning of a line whose end has not come
	last   map[string]*lastLines // by application server
	failed error                 // of out
}

// lastLines are the lines of one application server that were printed last.
type lastLines struct {
	at    time.Time      // the latest of them
	lines []logged       // no older than logOverlap
	broke time.Time      // at, at the last break; zero: there was none
	again map[string]int // of the lines before it, what may come once more
}

// logged is one line: when it was written, and all else that is known of it.
type logged struct {
	at   time.Time
	what string
}

// query is what to ask for: at first what the user has, after a break what has come since.
func (f *logFollower) query(q api.LogQuery) api.LogQuery {
	f.part = nil
	var first, latest time.Time
	for _, l := range f.last {
		l.broke, l.again = l.at, map[string]int{}
		for _, line := range l.lines {
			l.again[line.what]++
		}
		if first.IsZero() || l.at.Before(first) {
			first = l.at
		}
		if l.at.After(latest) {
			latest = l.at
		}
	}
	switch {
	case !latest.IsZero():
		if skewed := latest.Add(-logSkew); first.Before(skewed) {
			first = skewed
		}
		q.Since, q.Lines = first.Add(-logOverlap), -1
	case q.Lines == 0 && time.Since(f.began) > logShort: // only new ones, of which none has come yet
		q.Since, q.Lines = f.began, -1
	}
	return q
}

// Write implements io.Writer: what is printed are whole lines.
func (f *logFollower) Write(p []byte) (int, error) {
	f.part = append(f.part, p...)
	for {
		line, rest, whole := bytes.Cut(f.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		if !f.printed(string(line)) {
			if _, f.failed = f.out.Write(f.part[:len(line)+1]); f.failed != nil {
				return 0, f.failed
			}
		}
		f.part = append(f.part[:0], rest...)
	}
}

// printed reports whether a line was printed before the break, and notes it.
func (f *logFollower) printed(text string) bool {
	member, line, ok := f.parse(text)
	if !ok {
		return false
	}
	l := f.last[member]
	if l == nil {
		l = &lastLines{}
		f.last[member] = l
	}
	switch {
	case line.at.After(l.broke):
	case line.at.Before(l.broke.Add(-logOverlap)):
		return true // it was asked for because of another server
	case l.again[line.what] > 0:
		l.again[line.what]--
		return true
	}
	l.note(line)
	return false
}

// note keeps a line as long as it may come again.
func (l *lastLines) note(line logged) {
	if line.at.After(l.at) {
		l.at = line.at
	}
	l.lines = append(l.lines, line)
	old := 0
	for old < len(l.lines) && l.lines[old].at.Before(l.at.Add(-logOverlap)) {
		old++
	}
	l.lines = l.lines[old:]
}

// parse tells whose a line is and when it was written. What portico itself says of a log is no line of it.
func (f *logFollower) parse(text string) (member string, line logged, ok bool) {
	var at, what string
	if f.json {
		var l catalog.LogLine
		if json.Unmarshal([]byte(text), &l) != nil || l.At.IsZero() || strings.HasPrefix(l.Text, ownLine) && l.Instance == "" {
			return "", logged{}, false
		}
		return l.Member, logged{l.At, l.Release + " " + l.Instance + " " + l.Text}, true
	}
	if at, what, ok = strings.Cut(text, " "); !ok {
		return "", logged{}, false
	}
	from, words, ok := strings.Cut(what, " | ")
	when, err := time.Parse(time.RFC3339Nano, at)
	member, release, _ := strings.Cut(from, " ")
	if err != nil || !ok || release == "" && strings.HasPrefix(words, ownLine) {
		return "", logged{}, false
	}
	return member, logged{when, what}, true
}

// ownLine is how a line begins in which a proxy says that it cannot read a log.
const ownLine = "portico: its log cannot be read: "
