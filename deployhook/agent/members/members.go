package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/membership/catalog"
)

const (
	pollWait     = 30 * time.Second // how long a proxy may hold a poll when nothing changes
	pollSlack    = 15 * time.Second // on top of that before the proxy counts as silent
	reportTime   = 10 * time.Second
	nudgePause   = 500 * time.Millisecond // for the poll that is open to answer by itself
	staleTime    = time.Minute            // an older revision is believed when nothing newer came for this long
	maxWanted    = 64 << 20
	maxAnswer    = 1 << 20
	dialTime     = 5 * time.Second
	firstRetry   = 250 * time.Millisecond
	slowestRetry = 15 * time.Second
)

// reportAnswer is what a proxy says to a report.
type reportAnswer struct {
	Proxy  string              `json:"proxy"`   // that answers; empty: an older one
	StopOK []string            `json:"stop_ok"` // instances that it does not need any more
	Others map[string][]string `json:"others"`  // the same of other proxies, which it has asked
}

// peers is the agent's way to proxies and other members.
type peers struct {
	o     Options
	asked asked

	mu      sync.Mutex
	proxies []catalog.Peer
	servers []catalog.Peer
	good    string // address that answered last
	clients map[clientKey]*http.Client
}

type clientKey struct {
	role catalog.Role
	catalog.Peer
}

func newPeers(o Options) *peers {
	p := &peers{o: o, proxies: slices.Clone(o.Proxies), clients: make(map[clientKey]*http.Client)}
	if o.Identify != nil {
		p.asked.identify = func(cs tls.ConnectionState) error {
			_, _, err := o.Identify(cs)
			return err
		}
	}
	return p
}

// set learns from a wanted state where to ask next time. The configured proxies
// stay known: they are the way back after all others have changed.
func (p *peers) set(w catalog.Wanted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A member without an address can be let in, but not asked.
	p.proxies = slices.DeleteFunc(slices.Clone(w.Proxies), func(x catalog.Peer) bool { return x.Addr == "" })
	for _, c := range p.o.Proxies {
		if !slices.ContainsFunc(p.proxies, func(x catalog.Peer) bool { return x.Addr == c.Addr }) {
			p.proxies = append(p.proxies, c)
		}
	}
	p.servers = slices.DeleteFunc(slices.Clone(w.Servers), func(x catalog.Peer) bool { return x.Name == p.o.Name })
	known := make(map[clientKey]bool)
	for _, x := range p.proxies {
		known[clientKey{catalog.RoleProxy, x}] = true
	}
	for _, x := range p.servers {
		known[clientKey{catalog.RoleServer, x}] = true
	}
	for k, c := range p.clients {
		if !known[k] {
			c.CloseIdleConnections()
			delete(p.clients, k)
		}
	}
}

// any reports whether there is a proxy to ask at all.
func (p *peers) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.proxies) > 0 && p.o.ClientTLS != nil
}

// order returns the proxies, the one that answered last first.
func (p *peers) order() []catalog.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.Clone(p.proxies)
	slices.SortStableFunc(list, func(a, b catalog.Peer) int {
		return cmp.Compare(btoi(a.Addr != p.good), btoi(b.Addr != p.good))
	})
	return list
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *peers) remember(addr string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.good = addr
	} else if p.good == addr {
		p.good = ""
	}
}

// client returns the HTTP client for one member, kept while the member is known.
func (p *peers) client(role catalog.Role, x catalog.Peer) *http.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := clientKey{role, x}
	if c := p.clients[k]; c != nil {
		return c
	}
	var config *tls.Config
	if p.o.ClientTLS != nil {
		config = p.o.ClientTLS(role, x.Name).Clone()
	}
	if config != nil && role == catalog.RoleServer {
		config.ServerName = sniObjects
	}
	c := &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return p.asked.dial(ctx, addr, config)
			},
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: pollWait + pollSlack,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p.clients[k] = c
	return c
}

// sources returns everybody who may hold objects: other application servers
// first, they are many and the proxies are busy.
func (p *peers) sources() []objects.Source {
	p.mu.Lock()
	servers, proxies := p.servers, p.proxies
	p.mu.Unlock()
	if p.o.ClientTLS == nil {
		return nil
	}
	var list []objects.Source
	for _, x := range servers {
		list = append(list, objects.Source{Name: x.Name, URL: "https://" + x.Addr, Client: p.client(catalog.RoleServer, x)})
	}
	for _, x := range proxies {
		list = append(list, objects.Source{Name: cmp.Or(x.Name, x.Addr), URL: "https://" + x.Addr, Client: p.client(catalog.RoleProxy, x)})
	}
	return list
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// wantedFrom asks one proxy. changed is false when it has nothing newer.
func (p *peers) wantedFrom(ctx context.Context, x catalog.Peer, after int64) (w catalog.Wanted, changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollWait+pollSlack)
	defer cancel()
	q := url.Values{"after": {strconv.FormatInt(after, 10)}, "wait": {pollWait.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+x.Addr+"/v1/agent/wanted?"+q.Encode(), nil)
	if err != nil {
		return w, false, err
	}
	res, err := p.client(catalog.RoleProxy, x).Do(req)
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

// counted returns the names of the proxies whose word is needed before an instance
// stops: those that the wanted state names and that can send anything here. Empty: whoever answers.
func (p *peers) counted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, x := range p.proxies {
		if x.Name != "" {
			names = append(names, x.Name)
		}
	}
	return names
}

// copies returns the proxies that get a copy of each report, beside the one that
// writes it down. A configured address may be that of a proxy that is known by name, so it
// gets none once there are names.
func (p *peers) copies(recorder string) []catalog.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []catalog.Peer
	for _, x := range p.proxies {
		if x.Name != "" && x.Name != recorder {
			list = append(list, x)
		}
	}
	return list
}

// report delivers a report to the first proxy that takes it.
func (p *peers) report(ctx context.Context, r catalog.Report) (reportAnswer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return reportAnswer{}, fmt.Errorf("encode report: %w", err)
	}
	errs := []error{errors.New("report: no proxy took it")}
	for _, x := range p.order() {
		answer, err := p.reportTo(ctx, x, body)
		if err == nil {
			answer.Proxy = cmp.Or(answer.Proxy, x.Name)
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", cmp.Or(x.Name, x.Addr), err))
		if ctx.Err() != nil {
			break
		}
	}
	return reportAnswer{}, errors.Join(errs...)
}

func (p *peers) reportTo(ctx context.Context, x catalog.Peer, body []byte) (answer reportAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+x.Addr+"/v1/agent/report", bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := p.client(catalog.RoleProxy, x).Do(req)
	if err != nil {
		return answer, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusNoContent:
		return answer, nil
	case http.StatusOK:
		b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err == nil && len(bytes.TrimSpace(b)) > 0 {
			err = json.Unmarshal(b, &answer)
		}
		return answer, err
	}
	return answer, answerError(res)
}

// answerError turns a refusal into words; the beginning of the body says why.
func answerError(res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	return fmt.Errorf("it answers %s: %s", res.Status, bytes.TrimSpace(b))
}

// pollWanted asks for the wanted state for as long as ctx lives: each poll is
// held by the proxy until something changes.
func (a *Agent) pollWanted(ctx context.Context) {
	var known int64
	a.mu.Lock()
	known = a.wanted.Revision
	a.mu.Unlock()
	failed := 0
	fresh := time.Time{} // when an answer last confirmed what is known
	refetch := int64(0)  // sent as "after": the first answer tells the whole state
	for ctx.Err() == nil {
		ok, nudged := false, false
		var last error
		for _, x := range a.peers.order() {
			w, changed, err := a.pollOnce(ctx, x, refetch)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				nudged = nudged || errors.Is(err, errNudged)
				if !errors.Is(err, errNudged) {
					last = fmt.Errorf("%s: %w", cmp.Or(x.Name, x.Addr), err)
					a.peers.remember(x.Addr, false)
					a.log.Debug("proxy does not answer", "proxy", cmp.Or(x.Name, x.Addr), "error", err)
				}
				continue
			}
			ok = true
			a.peers.remember(x.Addr, true)
			if changed && w.Revision < known && time.Since(fresh) < staleTime {
				a.log.Debug("older revision passed over", "proxy", cmp.Or(x.Name, x.Addr), "revision", w.Revision, "known", known)
				last = fmt.Errorf("%s is behind: it has revision %d, and %d is known here", cmp.Or(x.Name, x.Addr), w.Revision, known)
				ok = false // ask another one, and do not ask this one in a tight loop
				continue
			}
			fresh = time.Now()
			if changed {
				known, refetch = w.Revision, w.Revision
				select {
				case a.incoming <- w:
				case <-ctx.Done():
					return
				}
			}
			break
		}
		switch {
		case ok:
			if failed >= silentPolls {
				a.log.Info("a proxy answers again")
			}
			failed = 0
			continue
		case nudged: // it is there, and asked again for the newer revision
		default:
			if failed++; failed == silentPolls {
				a.log.Warn("no proxy answers: the last known state is kept", "error", last)
			}
		}
		a.waitNudge(ctx, retryDelay(failed))
	}
}

// silentPolls in a row that no proxy answered are worth a line of the log.
const silentPolls = 3

// errNudged ends a poll whose proxy seems to have missed a change.
var errNudged = errors.New("a newer revision is announced")

// pollOnce is one poll, cut short when gossip speaks of a newer revision that
// the proxy does not deliver.
func (a *Agent) pollOnce(ctx context.Context, x catalog.Peer, after int64) (catalog.Wanted, bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case rev, ok := <-a.o.Nudge:
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
	w, changed, err := a.peers.wantedFrom(ctx, x, after)
	close(done)
	watch.Wait()
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return w, changed, err
}

// waitNudge sleeps, or returns early when gossip says that there is news.
func (a *Agent) waitNudge(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case _, ok := <-a.o.Nudge:
		if !ok {
			_ = pause.For(ctx, d)
		}
	case <-ctx.Done():
	}
}

// retryDelay is the pause after n failures in a row, with jitter, so that a
// whole cluster does not come back at one moment.
func retryDelay(n int) time.Duration {
	d := firstRetry
	for range min(n-1, 16) {
		d = min(2*d, slowestRetry)
	}
	return pause.Jitter(d)
}
