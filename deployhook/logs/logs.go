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
	"strconv"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// Query says which log lines are asked for.
type Query struct {
	Site     string
	Member   string    // empty: all application servers
	Instance string    // the beginning of an id, or "commands"; empty: any
	Release  string    // see ids.NamesRelease; empty: any
	Since    time.Time // zero: from the beginning
	Lines    int       // the last ones of each instance; below 0: the agent's default
	Follow   bool      // go on until the context ends
	JSON     bool      // each line as a messages.LogLine
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
		return refusal.New(http.StatusNotFound, "not_found", "portico sites lists them", "there is no site %q", q.Site)
	}
	if r.Agent == nil {
		return errors.New("BUG: logs without Reader.Agent")
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
		return refusal.New(http.StatusNotFound, "not_found", "portico members lists them", "there is no application server %q", q.Member)
	}
	if picky := q.Instance != "" || q.Release != ""; picky && q.Since.IsZero() && !q.Follow && len(out.lines) == 0 {
		return refusal.New(http.StatusNotFound, "not_found", "portico logs without it shows what there is; the logs of those that ended long ago are gone",
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
func parseLine(member string, data []byte) messages.LogLine {
	var l messages.LogLine
	if err := json.Unmarshal(data, &l); err != nil || l.At.IsZero() {
		l = messages.LogLine{At: time.Now().UTC(), Text: string(data)} // not as it should be, but of use
	}
	l.Member = member
	return l
}
