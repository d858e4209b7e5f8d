package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
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
		if at := c.who.ends(); !at.IsZero() {
			t := time.NewTimer(time.Until(at))
			defer t.Stop()
			ends = t.C
		}
		for s.opens(c.who, time.Now()) {
			select {
			case <-changed:
			case <-ends:
			case <-ctx.Done():
				return
			}
		}
		s.log.Warn("request ended: its credential opens less than when it began", "by", c.who.account, "from", c.from, "path", c.r.URL.Path)
		cancel(api.Failf(http.StatusUnauthorized, "unauthorized", "log in again", "the credential ended, or lost rights, while the request lasted"))
		if c.rt.body == bodyStream { // and is perhaps being read; see pacedBody
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
	var why *api.Error
	switch {
	case !errors.As(context.Cause(c.r.Context()), &why):
		return err
	case err == nil && !c.rt.changes():
		panic(http.ErrAbortHandler)
	case err == nil:
		return nil
	}
	return why
}

// opens reports whether a credential opens all that it did when who was made of it.
func (s *Server) opens(who *identity, now time.Time) bool {
	v := s.o.Catalog.View()
	a := v.Accounts[who.account]
	switch {
	case who.token != nil:
		a = command.StillGood(v, who.token.ID, now)
	case a == nil || a.Disabled || who.login.Proof != proofOf(a.Password) || !now.Before(who.ends()) || s.logins.isEnded(who.login.ID):
		return false
	}
	if a == nil {
		return false
	}
	is := identityOf(a)
	if len(is.sites) > 0 && len(who.sites) == 0 || rank(is.role) < rank(who.role) {
		return false
	}
	return !slices.ContainsFunc(who.sites, func(site string) bool { return !is.sees(site) })
}
