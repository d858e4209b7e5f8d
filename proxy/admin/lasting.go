package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"portico/internal/refusal"
)

// whileGood ends a request that lasts (a log that is followed, an upload) when the credential
// that it began with opens less than it did then: it has ended, or its account was disabled, has a
// new password, a lower role or fewer sites. The caller must call stop.
func (s *Server) whileGood(c *call) (stop func()) {
	ctx, cancel := context.WithCancelCause(c.r.Context())
	c.r = c.r.WithContext(ctx)
	changed, unsubscribe := s.o.Catalog.Subscribe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var ends <-chan time.Time
		if at := c.who.Ends(); !at.IsZero() {
			t := time.NewTimer(time.Until(at))
			defer t.Stop()
			ends = t.C
		}
		for s.gate.Opens(c.who, time.Now()) {
			select {
			case <-changed:
			case <-ends:
			case <-ctx.Done():
				return
			}
		}
		s.log.Warn("request ended: its credential opens less than when it began", "by", c.who.Account, "from", c.from, "path", c.r.URL.Path)
		cancel(refusal.New(http.StatusUnauthorized, "unauthorized", "log in again", "the credential ended, or lost rights, while the request lasted"))
		if c.rt.body == bodyStream { // and is perhaps being read; see streams.Upload
			_ = http.NewResponseController(c.w).SetReadDeadline(time.Unix(1, 0))
		}
	}()
	return func() {
		cancel(nil)
		<-done
		unsubscribe()
	}
}

// ended returns why whileGood ended a request, nil where it did not. An answer that had
// begun and is none to a change breaks off instead: half a backup must not look like a whole one.
func ended(c *call, err error) error {
	var why *refusal.Error
	switch {
	case !errors.As(context.Cause(c.r.Context()), &why):
		return err
	case err == nil && !c.rt.Changes():
		panic(http.ErrAbortHandler)
	case err == nil:
		return nil
	}
	return why
}
