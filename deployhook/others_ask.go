package deployhook

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"portico/membership/catalog"
)

// askEvery is how often the other proxies are asked while sessions or requests
// of theirs matter, and idleAskEvery otherwise, to know who is there.
const (
	askEvery     = time.Second
	idleAskEvery = 5 * time.Second
)

// peerQuestion is the body of POST /v1/peer/held.
type peerQuestion struct {
	Instances []string            `json:"instances,omitempty"` // whose Held is wanted
	Groups    map[string][]string `json:"groups,omitempty"`    // drains, by key: whose Loss is wanted
}

// peerAnswer answers it.
type peerAnswer struct {
	Proxy     string          `json:"proxy"`
	Instances map[string]Held `json:"instances,omitempty"`
	Groups    map[string]Loss `json:"groups,omitempty"`
}

// otherProxies returns the accepted proxies beside this one that can be asked: an
// exported HAProxy is a member without an address.
func (d *Deployer) otherProxies(v *catalog.View) []catalog.Member {
	var list []catalog.Member
	if d.o.Peer == nil {
		return nil
	}
	for _, m := range v.Members {
		if m.Role == catalog.RoleProxy && m.Admission == catalog.Accepted && m.Name != d.o.Name && m.Addr != "" {
			list = append(list, *m)
		}
	}
	slices.SortFunc(list, func(a, b catalog.Member) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// watchOthers asks the other proxies again and again until Close.
func (d *Deployer) watchOthers() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.askNow:
		case <-timer.C:
		}
		v := d.o.Catalog.View()
		list := d.otherProxies(v)
		q := peerQuestion{}
		if len(list) > 0 && d.leading() {
			q = d.question(v)
		}
		d.askOthers(d.ctx, list, q)
		d.others.forget(list)
		switch {
		case len(q.Instances) > 0:
			d.wake()
			timer.Reset(askEvery)
		default:
			timer.Reset(idleAskEvery)
		}
	}
}

// question is what the controller has to know for what is under way.
func (d *Deployer) question(v *catalog.View) peerQuestion {
	q := peerQuestion{Groups: map[string][]string{}}
	want := map[string]bool{}
	for _, x := range drains(v) {
		for _, in := range slices.Concat(x.held, x.exited) {
			want[in.ID] = true
			q.Groups[x.key()] = append(q.Groups[x.key()], in.ID)
		}
	}
	for _, deploy := range v.Deploys {
		if deploy.State != catalog.DeployRunning {
			continue
		}
		for _, in := range v.InstancesOf(deploy.Site) {
			if in.Release == deploy.Release {
				want[in.ID] = true
			}
		}
	}
	q.Instances = slices.Sorted(maps.Keys(want))
	return q
}

// askOthers puts a question to proxies side by side and notes what they say.
func (d *Deployer) askOthers(ctx context.Context, list []catalog.Member, q peerQuestion) {
	var wg sync.WaitGroup
	for _, m := range list {
		wg.Go(func() {
			var a peerAnswer
			err := d.askPeer(ctx, m, "/v1/peer/held", q, &a)
			if ctx.Err() == nil {
				d.others.note(m.Name, a, err, time.Now())
			}
		})
	}
	wg.Wait()
}

// ask has the other proxies asked soon.
func (d *Deployer) ask() {
	select {
	case d.askNow <- struct{}{}:
	default:
	}
}
