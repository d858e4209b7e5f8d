package frontdoor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/deployhook"
	"portico/internal/durable"
	"portico/internal/units"
	"portico/membership/catalog"
)

// sessionsFile holds the table of sessions between a clean stop and the next
// start. Losing it loses no session: the counts are then taken anew as visitors
// come back.
const sessionsFile = "sessions"

// saveSessions writes the table of sessions, so that the next process does not
// have to count anew.
func (p *Proxy) saveSessions() error {
	if err := durable.Write(p.path(sessionsFile), p.web.Balancer().SaveSessions); err != nil {
		return err
	}
	_ = durable.SyncDir(p.conf.Dir) // not every system can; the file is a convenience
	return nil
}

// restoreSessions reads the table that the last process saved. It is used once,
// and not when every session in it would have ended since, or when it is damaged.
func (p *Proxy) restoreSessions(now time.Time) error {
	file, err := os.Open(p.path(sessionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close(); _ = os.Remove(p.path(sessionsFile)) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if age := now.Sub(info.ModTime()); age > longestIdle(p.catalog.View()) {
		p.log.Info("saved sessions are too old to be alive", "age", age.Round(time.Second).String())
		return nil
	}
	n, err := p.web.Balancer().RestoreSessions(file, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	p.log.Info("sessions restored", "sessions", n)
	return nil
}

// longestIdle is the longest time without a request after which some site's
// sessions end.
func longestIdle(v *catalog.View) time.Duration {
	longest := sites.DefaultSessionIdle
	for _, site := range v.Sites {
		if s, err := site.Effective(); err == nil {
			longest = max(longest, s.Session.Idle.Std())
		}
	}
	return longest
}

// upstreams are the balancer's of some instances.
func (p *Proxy) upstreams(instances []*catalog.Instance) []*balancer.Upstream {
	var ups []*balancer.Upstream
	for _, in := range instances {
		if pool := p.web.Balancer().Pool(in.Site); pool != nil {
			if u := pool.Upstream(in.ID); u != nil {
				ups = append(ups, u)
			}
		}
	}
	return ups
}

// loss is what instances hold at this proxy.
func (p *Proxy) loss(instances []*catalog.Instance) deployhook.Loss {
	l := p.web.Balancer().Forecast(p.upstreams(instances), p.web.Now().UnixMilli())
	out := deployhook.Loss{
		Sessions: l.Sessions, Recent: l.Recent, InFlight: l.InFlight,
		Oldest: units.Duration(l.Oldest), Idlest: units.Duration(l.Idlest), Recounting: l.Recounting,
	}
	if len(instances) > 0 {
		out.Unheard = p.unheard()
		out.Recounting = out.Recounting || len(out.Unheard) > 0
	}
	if l.Ends > 0 {
		out.Ends = time.UnixMilli(l.Ends).UTC()
	}
	return out
}

// maxMoves bounds how many sessions one look marks to move.
const maxMoves = 1000

// moveQuiet marks the sessions of instances that were not used for so long, to be
// placed elsewhere with their next request.
func (p *Proxy) moveQuiet(instances []*catalog.Instance, quiet time.Duration) (moved int) {
	latest := p.web.Now().Add(-quiet).Unix()
	sessions := p.web.Balancer().Sessions()
	sites := map[string]map[*balancer.Upstream]bool{}
	for _, u := range p.upstreams(instances) {
		for _, in := range instances {
			if in.ID == u.ID() {
				if sites[in.Site] == nil {
					sites[in.Site] = map[*balancer.Upstream]bool{}
				}
				sites[in.Site][u] = true
			}
		}
	}
	for site, ups := range sites {
		list, _ := sessions.List(site, maxMoves, func(in *balancer.SessionInfo) bool {
			return ups[in.Upstream] && in.Last <= latest && !in.Moving && !in.Ended
		})
		for _, in := range list {
			if sessions.Move(in.ID) {
				moved++
			}
		}
	}
	return moved
}
