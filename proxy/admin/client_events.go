package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"portico/membership/catalog"
)

// eventTries is how many breaks in a row DeployEvents survives.
const eventTries = 5

// DeployEvents calls each for everything that happens to a deploy, from its
// beginning, until it has ended, each returns an error, or ctx is done. When the
// connection breaks it takes up where it was: no event is told twice.
func (c *Client) DeployEvents(ctx context.Context, id string, each func(catalog.Event) error) error {
	seen := map[string]bool{}
	for breaks := 0; ; {
		before := len(seen)
		done, err := c.events(ctx, id, seen, each)
		var answered *Error
		var stopped *stopError
		if errors.As(err, &stopped) {
			return stopped.err
		}
		if done || ctx.Err() != nil || errors.As(err, &answered) {
			return err
		}
		if breaks++; len(seen) > before {
			breaks = 1
		}
		if breaks > eventTries {
			return fmt.Errorf("follow deploy %s: %w", id, err)
		}
		select {
		case <-time.After(time.Duration(breaks) * 500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stopError carries what the caller's function returned.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

var errEventsBroke = errors.New("the stream of events broke off")

// events reads one connection's stream and skips what an earlier one has told:
// an event carries its time, so no two are alike. done reports that the deploy
// has ended.
func (c *Client) events(ctx context.Context, id string, seen map[string]bool, each func(catalog.Event) error) (done bool, err error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/deploys/"+segment(id)+"/events", nil, nil, "")
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if bytes.Equal(line, []byte("event: end")) {
			return true, nil
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue // comments that keep the connection, and the blank lines between events
		}
		if seen[string(data)] {
			continue
		}
		var e catalog.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return false, fmt.Errorf("read event: %w", err)
		}
		seen[string(data)] = true
		if err := each(e); err != nil {
			return false, &stopError{err}
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	return false, errEventsBroke
}
