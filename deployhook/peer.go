package deployhook

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"portico/deployhook/reply"
	"portico/deployhook/wanted"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// maxQuestion bounds what another proxy asks.
const maxQuestion = 16 << 20

// peerRoutes are what proxies ask one another. They are for accepted proxies alone; an
// exported HAProxy has a proxy's certificate, and no address.
func (d *Deployer) peerRoutes(only memberOnly) map[string]http.Handler {
	proxies := func(next func(http.ResponseWriter, *http.Request)) http.Handler {
		return only(func(w http.ResponseWriter, r *http.Request, m catalog.Member) {
			if m.Role != catalog.RoleProxy || m.Addr == "" {
				reply.Error(w, refusal.New(http.StatusForbidden, "not_a_proxy", "", "this is for proxies only"))
				return
			}
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(reportTimeout))
			reply.Within(w, reportTimeout+reply.Time)
			next(w, r)
		})
	}
	return map[string]http.Handler{
		"POST /v1/peer/held": proxies(d.serveHeld),
		"POST /v1/peer/move": proxies(d.serveMove),
		"POST /v1/peer/free": proxies(d.serveFree),
		"POST /v1/peer/ask":  proxies(d.serveAsk),
	}
}

// read decodes a question, or answers that it cannot be read.
func read[T any](w http.ResponseWriter, r *http.Request) (in T, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&in); err != nil {
		reply.Error(w, refusal.New(http.StatusBadRequest, "invalid", "", "read question: %v", err))
		return in, false
	}
	return in, true
}

// serveHeld tells what this proxy holds for some instances.
func (d *Deployer) serveHeld(w http.ResponseWriter, r *http.Request) {
	q, ok := read[peerQuestion](w, r)
	if !ok {
		return
	}
	v := d.o.Catalog.View()
	a := peerAnswer{Proxy: d.o.Name, Instances: map[string]Held{}, Groups: map[string]Loss{}}
	for _, id := range q.Instances {
		a.Instances[id] = d.held(v, id)
	}
	for key, ids := range q.Groups {
		a.Groups[key] = d.loss(pick(v, ids))
	}
	reply.JSON(w, http.StatusOK, a)
}

// held is what this proxy holds for an instance.
func (d *Deployer) held(v *catalog.View, id string) Held {
	h := Held{InRotation: d.o.InRotation == nil || d.o.InRotation(id), Open: takesNew(v, v.Instances[id])}
	h.Sessions, h.InFlight, h.Known = d.load(id)
	if d.o.Failed != nil {
		h.Failed = d.o.Failed(id)
	}
	return h
}

// takesNew reports whether new visitors are sent to an instance by this view.
func takesNew(v *catalog.View, in *catalog.Instance) bool {
	if in == nil {
		return false
	}
	site, m := v.Sites[in.Site], v.Members[in.Member]
	return site != nil && site.Release == in.Release && in.Admin != catalog.AdminDrain && in.Admin != catalog.AdminMaint &&
		m != nil && m.Admission == catalog.Accepted && m.Admin != catalog.AdminDrain && m.Admin != catalog.AdminMaint
}

// pick returns the instances that a view has of those named.
func pick(v *catalog.View, ids []string) []*catalog.Instance {
	var list []*catalog.Instance
	for _, id := range ids {
		if in := v.Instances[id]; in != nil {
			list = append(list, in)
		}
	}
	return list
}

// peerMove asks a proxy to mark quiet sessions: the body of POST /v1/peer/move.
type peerMove struct {
	Instances []string      `json:"instances"`
	Quiet     time.Duration `json:"quiet"`
}

// peerMoved answers it.
type peerMoved struct {
	Moved int `json:"moved"`
}

func (d *Deployer) serveMove(w http.ResponseWriter, r *http.Request) {
	q, ok := read[peerMove](w, r)
	if !ok {
		return
	}
	var a peerMoved
	if d.o.MoveQuiet != nil {
		a.Moved = d.o.MoveQuiet(pick(d.o.Catalog.View(), q.Instances), q.Quiet)
	}
	reply.JSON(w, http.StatusOK, a)
}

// moveQuiet marks quiet sessions at every proxy, and returns how many are newly marked.
func (d *Deployer) moveQuiet(held []*catalog.Instance, quiet time.Duration) (moved int) {
	if d.o.MoveQuiet != nil {
		moved = d.o.MoveQuiet(held, quiet)
	}
	q := peerMove{Quiet: quiet}
	for _, in := range held {
		q.Instances = append(q.Instances, in.ID)
	}
	for _, m := range d.otherProxies(d.o.Catalog.View()) {
		var a peerMoved
		if err := d.askPeer(d.ctx, m, "/v1/peer/move", q, &a); err != nil {
			d.logger.Debug("quiet sessions not moved at a proxy", "proxy", m.Name, "error", err)
		}
		moved += a.Moved
	}
	return moved
}

// peerFree asks which instances of a member may stop: the body of POST /v1/peer/free.
type peerFree struct {
	Member    string                    `json:"member"`
	Instances []messages.InstanceReport `json:"instances"`
}

// serveFree tells which instances that a member reports may stop as far as this proxy
// is concerned, for a member that cannot ask by itself.
func (d *Deployer) serveFree(w http.ResponseWriter, r *http.Request) {
	q, ok := read[peerFree](w, r)
	if !ok {
		return
	}
	list, _ := d.stoppable(wanted.Of(d.o.Catalog.View(), q.Member), q.Instances, time.Now())
	reply.JSON(w, http.StatusOK, ReportAnswer{Proxy: d.o.Name, StopOK: list})
}

// freeElsewhere asks the other proxies which of the reported instances that nothing
// wants may stop.
func (d *Deployer) freeElsewhere(ctx context.Context, member string, r messages.Report) map[string][]string {
	v := d.o.Catalog.View()
	proxies := d.otherProxies(v)
	if r.Copy || len(proxies) == 0 {
		return nil
	}
	state := wanted.Of(v, member)
	q := peerFree{Member: member, Instances: slices.DeleteFunc(slices.Clone(r.Instances), func(in messages.InstanceReport) bool {
		return in.ID == "" || in.State == catalog.InstanceExited || wants(state, in)
	})}
	if len(q.Instances) == 0 {
		return nil
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := map[string][]string{}
	for _, m := range proxies {
		wg.Go(func() {
			var a ReportAnswer
			if err := d.askPeer(ctx, m, "/v1/peer/free", q, &a); err != nil {
				d.logger.Debug("a proxy does not say what may stop", "proxy", m.Name, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			free[m.Name] = a.StopOK
		})
	}
	wg.Wait()
	return free
}

// wants reports whether a wanted state has a use for an instance.
func wants(w messages.Wanted, in messages.InstanceReport) bool {
	return slices.ContainsFunc(w.Releases, func(r messages.WantedRelease) bool { return r.Site == in.Site && r.Release == in.Release })
}

// peerAsk is a question of another part of the program: the body of POST /v1/peer/ask.
type peerAsk struct {
	What string          `json:"what"`
	In   json.RawMessage `json:"in"`
}

func (d *Deployer) serveAsk(w http.ResponseWriter, r *http.Request) {
	q, ok := read[peerAsk](w, r)
	if !ok {
		return
	}
	if d.o.AnswerPeer == nil {
		reply.Error(w, refusal.New(http.StatusNotImplemented, "not_offered", "", "this proxy answers no questions"))
		return
	}
	out, err := d.o.AnswerPeer(q.What, q.In)
	if err != nil {
		reply.Error(w, err)
		return
	}
	reply.JSON(w, http.StatusOK, out)
}

// OtherAnswer is what another proxy answers, as JSON, or why there is no answer.
type OtherAnswer struct {
	Proxy string
	Body  json.RawMessage
	Err   error
}

// AskOthers puts a question to every other proxy, side by side; it takes a second and a
// half at most. One that is known to be gone is not asked.
func (d *Deployer) AskOthers(ctx context.Context, what string, in any) []OtherAnswer {
	proxies := d.otherProxies(d.o.Catalog.View())
	if len(proxies) == 0 {
		return nil
	}
	answers := make([]OtherAnswer, len(proxies))
	body, err := json.Marshal(in)
	var wg sync.WaitGroup
	for i, m := range proxies {
		answers[i] = OtherAnswer{Proxy: m.Name, Err: err}
		if err == nil {
			wg.Go(func() { answers[i].Err = d.askPeer(ctx, m, "/v1/peer/ask", peerAsk{what, body}, &answers[i].Body) })
		}
	}
	wg.Wait()
	return answers
}

// Silent returns the names of the other proxies that do not answer.
func (d *Deployer) Silent() []string {
	return d.others.silent(d.otherProxies(d.o.Catalog.View()), time.Now())
}

// Others returns how many other proxies the cluster has.
func (d *Deployer) Others() int { return len(d.otherProxies(d.o.Catalog.View())) }
