package start

import (
	"context"
	"fmt"
	"strings"
	"time"

	"portico/cmd/portico/screen"
	"portico/membership/catalog"
)

// waitServers waits until n application servers have been accepted.
func (u *up) waitServers(ctx context.Context, n int) error {
	return u.wait(ctx, func(v *catalog.View) string {
		accepted := 0
		for _, m := range v.Members {
			if m.Role == catalog.RoleServer && m.Admission == catalog.Accepted {
				accepted++
			}
		}
		if accepted >= n {
			return ""
		}
		return fmt.Sprintf("%d of %s have joined", accepted, screen.Plural(n, "application server"))
	})
}

// waitDemo waits until an instance of the demonstration site answers again; a
// newcomer may have removed it.
func (u *up) waitDemo(ctx context.Context) error {
	return u.wait(ctx, func(v *catalog.View) string {
		if v.Sites[demoName] == nil {
			return ""
		}
		why := "the demonstration site has no instance yet"
		for _, i := range v.Instances {
			if i.Site == demoName && u.front.InRotation(i.ID) {
				return ""
			} else if i.Site == demoName {
				why = fmt.Sprintf("the demonstration site on %s is %s %s", i.Member, i.State, i.Detail)
			}
		}
		return strings.TrimSpace(why)
	})
}

// slowly is after how long a wait says what it is waiting for, and again so long afterwards.
const slowly = 10 * time.Second

// wait waits until missing finds nothing any more. That may take long on a small machine.
func (u *up) wait(ctx context.Context, missing func(*catalog.View) string) error {
	changed, cancel := u.front.Catalog().Subscribe()
	defer cancel()
	began, told := time.Now(), time.Now()
	for {
		what := missing(u.front.Catalog().View())
		if what == "" {
			return nil
		}
		if now := time.Now(); now.Sub(told) > slowly {
			told = now
			u.line.Set("%s after %s; --log-level info tells more …", what, screen.Span(now.Sub(began)))
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // health is not in the catalog
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}
