package deployhook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"portico/membership/catalog"
)

// LogQuery says which log lines are asked for.
type LogQuery struct {
	Site   string
	Member string // empty: all application servers
	Lines  int    // the last ones of each; 0: the agent's default
	Follow bool   // go on until the context ends
}

const (
	// logConnect bounds the wait for a member's first line.
	logConnect = 10 * time.Second
	// logLine is the longest line that is passed on; the rest of it is dropped.
	logLine = 64 << 10
)

// Logs copies the log lines of a site's instances to w, each with its member in
// front. A member that cannot be asked is a line of its own, not an error.
func (d *Deployer) Logs(ctx context.Context, w io.Writer, q LogQuery) error {
	v := d.o.Catalog.View()
	if v.Sites[q.Site] == nil {
		return refusal(http.StatusNotFound, "not_found", "portico sites lists them", "there is no site %q", q.Site)
	}
	if d.o.Agent == nil {
		return errors.New("BUG: Logs without Options.Agent")
	}
	ctx, done := d.during(ctx)
	defer done()
	out := &lineWriter{w: w}
	var wg sync.WaitGroup
	asked := 0
	for _, m := range sortedServers(v) {
		if q.Member != "" && q.Member != m.Name {
			continue
		}
		asked++
		wg.Go(func() {
			if err := d.memberLog(ctx, out, *m, q); err != nil && ctx.Err() == nil {
				out.line(m.Name, "portico: its log cannot be read: "+err.Error())
			}
		})
	}
	wg.Wait()
	if asked == 0 && q.Member != "" {
		return refusal(http.StatusNotFound, "not_found", "portico members lists them", "there is no application server %q", q.Member)
	}
	return out.err()
}

// memberLog copies one member's lines.
func (d *Deployer) memberLog(ctx context.Context, out *lineWriter, m catalog.Member, q LogQuery) error {
	client, base, err := d.o.Agent(m, "agent")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	values := url.Values{}
	if q.Lines > 0 {
		values.Set("lines", strconv.Itoa(q.Lines))
	}
	if q.Follow {
		values.Set("follow", "1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/logs/"+url.PathEscape(q.Site)+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	connect := time.AfterFunc(logConnect, cancel)
	res, err := client.Do(req)
	connect.Stop()
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil // the site does not run there
	default:
		return fmt.Errorf("it answers %s", res.Status)
	}
	return copyLines(out, m.Name, res.Body)
}

func copyLines(out *lineWriter, member string, r io.Reader) error {
	in := bufio.NewReaderSize(r, logLine)
	for {
		line, more, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !out.line(member, string(line)) {
			return nil
		}
		for more && err == nil { // drop the rest of an endless line
			_, more, err = in.ReadLine()
		}
	}
}

// lineWriter writes whole lines from several goroutines.
type lineWriter struct {
	mu     sync.Mutex
	w      io.Writer
	failed error
}

// line writes one line and reports whether the reader is still there.
func (l *lineWriter) line(member, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		_, l.failed = fmt.Fprintf(l.w, "%s | %s\n", member, harmless(text))
	}
	if f, ok := l.w.(http.Flusher); ok && l.failed == nil {
		f.Flush()
	}
	return l.failed == nil
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

func (l *lineWriter) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}
