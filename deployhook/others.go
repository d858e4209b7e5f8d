package deployhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

const (
	// askEvery is how often the other proxies are asked while sessions or requests
	// of theirs matter, and idleAskEvery otherwise, to know who is there.
	askEvery     = time.Second
	idleAskEvery = 5 * time.Second
	// askTime bounds one question to another proxy.
	askTime = 1500 * time.Millisecond
	// freshTime is how long an answer counts. What another proxy holds is not known
	// without a fresh one.
	freshTime = 4 * time.Second
	// closedTime is how long another proxy must have sent no new visitors to an
	// instance before its numbers count as final: a request may be on its way.
	closedTime = time.Second
	// clockSkew is by how much the clocks of two proxies may differ, see docs/sessions.md.
	clockSkew = 5 * time.Minute
	// maxAnswer bounds the answer of another proxy.
	maxAnswer = 64 << 20
)

// Held is what one proxy holds for an instance, and what it thinks of it.
type Held struct {
	Sessions   int    `json:"sessions"`
	InFlight   int    `json:"in_flight"`
	Known      bool   `json:"known"`                 // there are no sessions that it has not counted
	Open       bool   `json:"open,omitempty"`        // it sends new visitors there
	InRotation bool   `json:"in_rotation,omitempty"` // its own checks pass
	Failed     string `json:"failed,omitempty"`
}

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

// others knows what the other proxies hold, as they said last.
type others struct {
	mu    sync.Mutex
	start time.Time
	known map[string]*otherProxy
}

// otherProxy is one of them.
type otherProxy struct {
	heard  time.Time // when it answered last; zero: never
	err    error     // of the last question; nil: it answered
	answer peerAnswer
	closed map[string]time.Time // instance to since when it sends no new visitors there
}

func newOthers(now time.Time) *others {
	return &others{start: now, known: map[string]*otherProxy{}}
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
		for id, in := range v.Instances {
			if in.Site == deploy.Site && in.Release == deploy.Release {
				want[id] = true
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

// note takes in what a proxy answered.
func (o *others) note(name string, a peerAnswer, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[name]
	if p == nil {
		p = &otherProxy{closed: map[string]time.Time{}}
		o.known[name] = p
	}
	if p.err = err; err != nil {
		return
	}
	p.heard, p.answer = now, a
	for id, h := range a.Instances {
		switch _, noted := p.closed[id]; {
		case h.Open:
			delete(p.closed, id)
		case !noted:
			p.closed[id] = now
		}
	}
	for id := range p.closed {
		if _, asked := a.Instances[id]; !asked {
			delete(p.closed, id)
		}
	}
}

// forget drops proxies that are not members any more.
func (o *others) forget(list []catalog.Member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.known {
		if !slices.ContainsFunc(list, func(m catalog.Member) bool { return m.Name == name }) {
			delete(o.known, name)
		}
	}
}

// held returns what a proxy holds for an instance. fresh is false while it has not
// said so lately; silent is then for how long it has not been heard.
func (o *others) held(proxy, instance string, now time.Time) (h Held, settled, fresh bool, silent time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[proxy]
	if p == nil {
		return h, false, false, now.Sub(o.start)
	}
	silent = now.Sub(later(o.start, p.heard))
	h, asked := p.answer.Instances[instance]
	if !asked || p.err != nil || p.heard.IsZero() || silent > freshTime {
		return h, false, false, silent
	}
	since, closed := p.closed[instance]
	return h, closed && now.Sub(since) >= closedTime, true, silent
}

// said returns what a proxy said of an instance, if it said so lately.
func (o *others) said(proxy, instance string, now time.Time) (h Held, asked bool) {
	h, _, fresh, _ := o.held(proxy, instance, now)
	return h, fresh
}

// answers reports whether a proxy answers at all.
func (o *others) answers(proxy string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[proxy]
	return p != nil && p.err == nil && now.Sub(p.heard) <= idleAskEvery+freshTime
}

// ask has the other proxies asked soon.
func (d *Deployer) ask() {
	select {
	case d.askNow <- struct{}{}:
	default:
	}
}

// silent returns the names of the proxies that did not answer the last question.
func (o *others) silent(list []catalog.Member, now time.Time) (names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range list {
		if p := o.known[m.Name]; p == nil || p.err != nil || now.Sub(p.heard) > idleAskEvery+freshTime {
			names = append(names, m.Name)
		}
	}
	return names
}

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

// errGone reports a proxy that is not asked, because it did not answer before and gossip has
// it for gone.
var errGone = errors.New("no answer, and gossip does not know it")

// gone reports whether a proxy did not answer the last regular question. That one is
// always asked: it is how anybody learns that the proxy is back.
func (o *others) gone(proxy, path string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[proxy]
	return path != "/v1/peer/held" && p != nil && p.err != nil
}

// askPeer puts a question to another proxy, as JSON by mutual TLS.
func (d *Deployer) askPeer(ctx context.Context, m catalog.Member, path string, in, out any) error {
	if d.others.gone(m.Name, path) && d.o.Alive != nil && !d.o.Alive(m.Name) {
		return fmt.Errorf("ask proxy %s: it has gone: %w", m.Name, errGone)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err := d.post(ctx, m, path, in, out)
	if err != nil {
		return fmt.Errorf("ask proxy %s: %w", m.Name, err)
	}
	return nil
}

func (d *Deployer) post(ctx context.Context, m catalog.Member, path string, in, out any) error {
	client, base, err := d.o.Peer(m)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 512))
		return fmt.Errorf("it answers %s: %s", res.Status, bytes.TrimSpace(text))
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return errors.Join(errors.New("read its answer"), err)
	}
	return nil
}
