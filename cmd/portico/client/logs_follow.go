package client

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/deployhook/logs"
	"portico/internal/pause"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/apiclient"
)

const (
	// A server that was silent for longer than another one is asked for no more than this: its clock is hardly wrong by so much.
	logSkew = time.Minute
	// A stream that ends sooner, and in order, has nobody to follow.
	logShort = time.Second
)

// followLogs prints lines until the context ends. It outlives a proxy that is away.
func followLogs(cmd *cobra.Command, c *apiclient.Client, q logs.Query) error {
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
	f := &logFollower{out: cmd.OutOrStdout(), json: q.JSON, began: time.Now(), last: map[string]*logs.LastLines{}}
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
	part   []byte                     // the beginning of a line whose end has not come
	last   map[string]*logs.LastLines // by application server
	failed error                      // of out
}

// query is what to ask for: at first what the user has, after a break what has come since.
func (f *logFollower) query(q logs.Query) logs.Query {
	f.part = nil
	var first, latest time.Time
	for _, l := range f.last {
		at := l.Break()
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(latest) {
			latest = at
		}
	}
	switch {
	case !latest.IsZero():
		if skewed := latest.Add(-logSkew); first.Before(skewed) {
			first = skewed
		}
		q.Since, q.Lines = first.Add(-logs.Overlap), -1
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
	member, at, what, ok := f.parse(text)
	if !ok {
		return false
	}
	if f.last[member] == nil {
		f.last[member] = &logs.LastLines{}
	}
	return f.last[member].Known(at, what)
}

// parse tells whose a line is, when it was written, and all else that is known of it. What portico itself says of a log is no line of it.
func (f *logFollower) parse(text string) (member string, at time.Time, what string, ok bool) {
	if f.json {
		var l messages.LogLine
		if json.Unmarshal([]byte(text), &l) != nil || l.At.IsZero() || strings.HasPrefix(l.Text, ownLine) && l.Instance == "" {
			return "", at, "", false
		}
		return l.Member, l.At, l.Release + " " + l.Instance + " " + l.Text, true
	}
	when, what, ok := strings.Cut(text, " ")
	if !ok {
		return "", at, "", false
	}
	from, words, ok := strings.Cut(what, " | ")
	at, err := time.Parse(time.RFC3339Nano, when)
	member, release, _ := strings.Cut(from, " ")
	if err != nil || !ok || release == "" && strings.HasPrefix(words, ownLine) {
		return "", at, "", false
	}
	return member, at, what, true
}

// ownLine is how a line begins in which a proxy says that it cannot read a log.
const ownLine = "portico: its log cannot be read: "
