package admin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/page"
)

// changeWait is how long a change waits for a leader: elections take one or two seconds.
const changeWait = 5 * time.Second

// current brings the view up to date before anything is decided on it: for a change, for a
// forecast, and where the caller says ?consistent. Whatever the answer is, it tells how old the view is.
func (s *Server) current(c *call) error {
	var err error
	consistent, bad := c.flag("consistent")
	if bad != nil {
		return bad
	}
	if consistent || c.rt.decides || c.rt.Changes() && c.rt.Need != access.Nobody && !c.rt.here {
		ctx, cancel := context.WithTimeout(c.r.Context(), changeWait)
		defer cancel()
		err = s.o.Catalog.Confirm(ctx)
	}
	h := c.w.Header()
	h.Set(api.FieldRevision, strconv.FormatInt(s.o.Catalog.View().Revision, 10))
	h.Set(api.FieldAge, strconv.FormatFloat(max(0, time.Since(s.o.Catalog.Confirmed()).Seconds()), 'f', 1, 64))
	return err
}

// old says since when the view may be old, "" when it is not.
func (s *Server) old(now time.Time) string {
	since := s.o.Catalog.OldSince()
	if since.IsZero() {
		return ""
	}
	return fmt.Sprintf("What is shown of the cluster may be old: this proxy has not reached the others since %s, %s ago. Traffic goes on.",
		since.UTC().Format("15:04:05 MST"), page.Age(now.Sub(since)))
}
