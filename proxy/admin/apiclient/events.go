package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"portico/membership/catalog/messages"
	"portico/proxy/admin/api"
)

// DeployEvents calls each for everything that happens to a deploy, from its
// beginning, until it has ended, each returns an error, or ctx is done. When the
// connection breaks, or the proxy is away, it takes up where it was: no event is told twice.
// Without a patience of the client's own the proxy may be away for eventsAbsence.
func (c *Client) DeployEvents(ctx context.Context, id string, each func(messages.Event) error) error {
	a := c.absence()
	if a.Until.IsZero() && a.Absence == 0 {
		a.Absence = eventsAbsence
	}
	s := eventReader{c: c, id: id, each: each, seen: map[string]bool{}}
	for {
		before := len(s.seen)
		done, err := s.read(ctx, a)
		var stopped *stopError
		switch {
		case errors.As(err, &stopped):
			return stopped.err
		case done:
			return nil
		case len(s.seen) > before: // what is told again is no sign of life: a line that always breaks would be tried for ever
			a.back()
		}
		if err := a.again(ctx, time.Now(), err); err != nil {
			return err
		}
	}
}

// eventsAbsence is more than the restart of a proxy takes.
const eventsAbsence = 10 * time.Second

// stopError carries what the caller's function returned.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

var (
	errEventsBroke = errors.New("the stream of events broke off")
	errEventsMute  = fmt.Errorf("%w: no sign of life for %v", errEventsBroke, mute)
)

// eventReader reads a deploy's events over as many connections as it takes. An event carries its
// time, so no two are alike.
type eventReader struct {
	c    *Client
	id   string
	each func(messages.Event) error
	seen map[string]bool // what an earlier connection has told
}

// read reads one connection's stream. done reports that the deploy has ended.
func (r *eventReader) read(ctx context.Context, a *absence) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(mute, func() { cancel(errEventsMute) })
	defer silence.Stop()
	resp, err := r.c.send(ctx, http.MethodGet, "/v1/deploys/"+segment(r.id)+"/events", nil, nil, "")
	if context.Cause(ctx) == errEventsMute {
		return false, errEventsMute
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	for lines.Scan() {
		silence.Reset(mute)
		if a.heard(); bytes.Equal(lines.Bytes(), []byte(api.Beat)) {
			a.back()
		}
		if done, err := r.line(lines.Bytes()); done || err != nil {
			return done, err
		}
	}
	switch err := context.Cause(ctx); {
	case err != nil:
		return false, err
	case lines.Err() != nil:
		return false, fmt.Errorf("%w: %w", errEventsBroke, lines.Err())
	}
	return false, errEventsBroke
}

// line takes one line of the stream.
func (r *eventReader) line(line []byte) (done bool, err error) {
	if bytes.Equal(line, []byte("event: end")) {
		return true, nil
	}
	data, ok := bytes.CutPrefix(line, []byte("data: "))
	if !ok || r.seen[string(data)] {
		return false, nil // comments that keep the connection, and the blank lines between events
	}
	var e messages.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return false, fmt.Errorf("%w: read event: %w", errEventsBroke, err)
	}
	r.seen[string(data)] = true
	if err := r.each(e); err != nil {
		return false, &stopError{err}
	}
	return false, nil
}
