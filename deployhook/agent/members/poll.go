package members

import (
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

	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

const (
	pollWait     = 30 * time.Second       // how long a proxy may hold a poll when nothing changes
	pollSlack    = 15 * time.Second       // on top of that before the proxy counts as silent
	nudgePause   = 500 * time.Millisecond // for the poll that is open to answer by itself
	staleTime    = time.Minute            // an older revision is believed when nothing newer came for this long
	maxWanted    = 64 << 20
	firstRetry   = 250 * time.Millisecond
	slowestRetry = 15 * time.Second
)

// wantedFrom asks one proxy. changed is false when it has nothing newer.
func (m *Members) wantedFrom(ctx context.Context, x messages.Peer, after int64) (w messages.Wanted, changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollWait+pollSlack)
	defer cancel()
	q := url.Values{"after": {strconv.FormatInt(after, 10)}, "wait": {pollWait.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+x.Addr+"/v1/agent/wanted?"+q.Encode(), nil)
	if err != nil {
		return w, false, err
	}
	res, err := m.client(catalog.RoleProxy, x).Do(req)
	if err != nil {
		return w, false, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusNotModified:
		return w, false, nil
	default:
		return w, false, answerError(res)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxWanted)).Decode(&w); err != nil {
		return w, false, fmt.Errorf("read wanted state: %w", err)
	}
	return w, w.Revision != after, nil
}

// Poll asks for the wanted state for as long as ctx lives, and sends each that is not the known revision: each
// poll is held by the proxy until something changes.
func (m *Members) Poll(ctx context.Context, known int64, to chan<- messages.Wanted) {
	failed := 0
	fresh := time.Time{} // when an answer last confirmed what is known
	refetch := int64(0)  // sent as "after": the first answer tells the whole state
	for ctx.Err() == nil {
		ok, nudged := false, false
		var last error
		for _, x := range m.Order() {
			w, changed, err := m.pollOnce(ctx, x, refetch)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				nudged = nudged || errors.Is(err, errNudged)
				if !errors.Is(err, errNudged) {
					last = fmt.Errorf("%s: %w", cmp.Or(x.Name, x.Addr), err)
					m.remember(x.Addr, false)
					m.o.Logger.Debug("proxy does not answer", "proxy", cmp.Or(x.Name, x.Addr), "error", err)
				}
				continue
			}
			ok = true
			m.remember(x.Addr, true)
			if changed && w.Revision < known && time.Since(fresh) < staleTime {
				m.o.Logger.Debug("older revision passed over", "proxy", cmp.Or(x.Name, x.Addr), "revision", w.Revision, "known", known)
				last = fmt.Errorf("%s is behind: it has revision %d, and %d is known here", cmp.Or(x.Name, x.Addr), w.Revision, known)
				ok = false // ask another one, and do not ask this one in a tight loop
				continue
			}
			fresh = time.Now()
			if changed {
				known, refetch = w.Revision, w.Revision
				select {
				case to <- w:
				case <-ctx.Done():
					return
				}
			}
			break
		}
		switch {
		case ok:
			if failed >= silentPolls {
				m.o.Logger.Info("a proxy answers again")
			}
			failed = 0
			continue
		case nudged: // it is there, and asked again for the newer revision
		default:
			if failed++; failed == silentPolls {
				m.o.Logger.Warn("no proxy answers: the last known state is kept", "error", last)
			}
		}
		m.waitNudge(ctx, RetryDelay(failed))
	}
}

// silentPolls in a row that no proxy answered are worth a line of the log.
const silentPolls = 3

// errNudged ends a poll whose proxy seems to have missed a change.
var errNudged = errors.New("a newer revision is announced")

// pollOnce is one poll, cut short when gossip speaks of a newer revision that
// the proxy does not deliver.
func (m *Members) pollOnce(ctx context.Context, x messages.Peer, after int64) (messages.Wanted, bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case rev, ok := <-m.o.Nudge:
				if !ok {
					<-done
					return
				}
				if rev <= after {
					continue
				}
				select {
				case <-done:
				case <-time.After(nudgePause):
					cancel(errNudged)
				}
				return
			case <-done:
				return
			}
		}
	})
	w, changed, err := m.wantedFrom(ctx, x, after)
	close(done)
	watch.Wait()
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return w, changed, err
}

// waitNudge sleeps, or returns early when gossip says that there is news.
func (m *Members) waitNudge(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case _, ok := <-m.o.Nudge:
		if !ok {
			_ = pause.For(ctx, d)
		}
	case <-ctx.Done():
	}
}

// RetryDelay is the pause after n failures in a row, with jitter, so that a
// whole cluster does not come back at one moment.
func RetryDelay(n int) time.Duration {
	d := firstRetry
	for range min(n-1, 16) {
		d = min(2*d, slowestRetry)
	}
	return pause.Jitter(d)
}
