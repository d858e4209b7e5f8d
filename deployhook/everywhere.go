package deployhook

import (
	"context"
	"slices"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// clockSkew is by how much the clocks of two proxies may differ, see docs/sessions.md.
const clockSkew = 5 * time.Minute

// loadEverywhere is what all proxies hold for an instance. known is false while some
// proxy may hold more: it counts anew, still sends new visitors there, or does not answer. One that
// nobody has heard for so long that its sessions must have ended or come to another
// proxy is not waited for.
func (d *Deployer) loadEverywhere(v *catalog.View, site, instance string, now time.Time) (sessions, inflight int, known bool) {
	sessions, inflight, known = d.load(instance)
	for _, m := range d.otherProxies(v) {
		h, settled, fresh, silent := d.others.held(m.Name, instance, now)
		if !fresh {
			known = known && d.outlived(v, site, m.Name, silent)
			continue
		}
		sessions, inflight = sessions+h.Sessions, inflight+h.InFlight
		known = known && h.Known && settled
	}
	return sessions, inflight, known
}

// outlived reports whether no session of a site can be left that only a silent proxy
// has seen: gossip has it for gone too, and the site's idle time and a quarter are over, and
// as long again as its clock may have been ahead.
func (d *Deployer) outlived(v *catalog.View, site, proxy string, silent time.Duration) bool {
	if d.o.Alive == nil || d.o.Alive(proxy) {
		return false
	}
	idle := sites.DefaultSessionIdle
	if s := v.Sites[site]; s != nil {
		if set, err := s.Effective(); err == nil {
			idle = set.Session.Idle.Std()
		}
	}
	return silent > idle+idle/4+min(idle/4, clockSkew)
}

// add puts two proxies' losses together. A session that both have seen lately is in
// both, so the sum may be too high, never too low.
func (l Loss) add(other Loss) Loss {
	l.Sessions, l.Recent, l.InFlight = l.Sessions+other.Sessions, l.Recent+other.Recent, l.InFlight+other.InFlight
	l.Oldest, l.Idlest = max(l.Oldest, other.Oldest), max(l.Idlest, other.Idlest)
	l.Ends = later(l.Ends, other.Ends)
	l.Recounting = l.Recounting || other.Recounting
	l.Unheard = append(slices.Clip(l.Unheard), other.Unheard...)
	return l
}

// withOthers adds to each drain's loss what the other proxies hold, as they say when
// asked now.
func (d *Deployer) withOthers(ctx context.Context, v *catalog.View, list []Drain) {
	proxies := d.otherProxies(v)
	if len(proxies) == 0 || len(list) == 0 {
		return
	}
	q := peerQuestion{Groups: map[string][]string{}}
	for i := range list {
		for _, in := range list[i].held {
			q.Groups[list[i].key()] = append(q.Groups[list[i].key()], in.ID)
		}
	}
	answers := make([]peerAnswer, len(proxies))
	errs := make([]error, len(proxies))
	var wg sync.WaitGroup
	for i, m := range proxies {
		wg.Go(func() { errs[i] = d.askPeer(ctx, m, "/v1/peer/held", q, &answers[i]) })
	}
	wg.Wait()
	for i, m := range proxies {
		for j := range list {
			if errs[i] != nil {
				list[j].Silent, list[j].Recounting = append(list[j].Silent, m.Name), true
				continue
			}
			list[j].Loss = list[j].Loss.add(answers[i].Groups[list[j].key()])
		}
	}
}

// remoteLoss is what the other proxies said last that a drain holds with them.
func (d *Deployer) remoteLoss(v *catalog.View, key string) (l Loss) {
	d.others.mu.Lock()
	defer d.others.mu.Unlock()
	for _, m := range d.otherProxies(v) {
		if p := d.others.known[m.Name]; p != nil && p.err == nil {
			l = l.add(p.answer.Groups[key])
		} else {
			l.Recounting = true
		}
	}
	return l
}
