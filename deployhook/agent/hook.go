package agent

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/ports"
	"portico/deployhook/agent/state"
	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// hookSite is a release in an application server that is not portico's: commands install and
// activate it there. That server has one port for the site, so one release is active at a
// time. When another release is activated, the former one's instance ends. If the other one
// then fails its checks, the former is activated again, as a new instance.
type hookSite struct {
	a    *Agent
	port int
	uid  int // of the site's commands

	mu   sync.Mutex
	over chan struct{} // closed when another release took its place
	why  string
}

func newHookSite(a *Agent, rec state.Instance, uid int) *hookSite {
	h := &hookSite{a: a, port: rec.Port, uid: uid, over: make(chan struct{})}
	a.mu.Lock()
	a.hooks[rec.Site] = h
	a.mu.Unlock()
	return h
}

// startHook installs and activates the release.
func (u *unit) startHook(want messages.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	a, hook := u.a, want.Settings.Hook
	if hook.Port <= 0 {
		return nil, final(errors.New("hook.port is not set: say where the application server answers on this machine"))
	}
	lock := a.siteLock(u.key.site)
	lock.Lock()
	defer lock.Unlock()
	if len(hook.Install) > 0 {
		u.step(catalog.StepInstalling, "runs hook.install: "+hook.Install[0])
		if err := u.command(u.ctx, "hook.install", hook.Install, want, rel, hook.Port); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	former := a.hooks[u.key.site]
	a.mu.Unlock()
	if former != nil {
		former.end("release " + short(u.key.release) + " took its place")
	}
	if err := a.state.Change(func(s *state.File) { s.Hooks[rec.Site] = rec.Release }); err != nil {
		return nil, err
	}
	u.step(catalog.StepStarting, "")
	if len(hook.Activate) > 0 {
		u.step(catalog.StepStarting, "runs hook.activate: "+hook.Activate[0])
		if err := u.command(u.ctx, "hook.activate", hook.Activate, want, rel, hook.Port); err != nil {
			return nil, err
		}
	}
	rec.Port, rec.UID = hook.Port, rel.Account.UID
	return &instance{running: newHookSite(a, rec, rec.UID), rec: rec}, nil
}

// waitsForCandidate reports whether a hook site's release must leave the port to
// a candidate of the same site; a.mu is held.
func (u *unit) waitsForCandidate() bool {
	if u.want.Settings.Kind != sites.KindHook || u.want.Duty == messages.DutyCandidate {
		return false
	}
	for k, other := range u.a.units {
		if k.site == u.key.site && other != u && other.want.Duty == messages.DutyCandidate && !other.failedLocked() && !other.ending() {
			return true
		}
	}
	return false
}

// removeHook runs the remove command of a site that is not wanted any more.
func (u *unit) removeHook() {
	want := u.wanted()
	cmd := want.Settings.Hook.Remove
	if want.Settings.Kind != sites.KindHook || u.a.siteWanted(u.key.site) {
		return
	}
	acc, err := u.a.siteAccount(u.key.site, want.Settings)
	rel := folders.Release{Site: u.a.dirs(u.key.site), Account: acc}
	if err == nil && u.a.root {
		rel.Cover, err = folders.Unreachable(rel.Site.Root)
	}
	if err == nil && len(cmd) > 0 {
		rel.Dir = rel.Site.Release(u.key.release)
		err = u.verifyInstalled(&rel, want)
	}
	if err == nil && len(cmd) > 0 {
		err = u.command(u.a.force, "hook.remove", cmd, want, rel, want.Settings.Hook.Port)
	}
	if err != nil {
		u.log.Error("site not removed from its application server", "error", err)
	}
	u.a.state.Save(func(s *state.File) { delete(s.Hooks, u.key.site) })
}

// verifyInstalled compares the folder of a release with what was deployed. It fetches and
// assembles nothing: the release is not wanted any more.
func (u *unit) verifyInstalled(rel *folders.Release, want messages.WantedRelease) (err error) {
	if rel.Data, err = folders.DataNames(want.Settings); err != nil {
		return err
	}
	if rel.Tree, err = u.a.store.Tree(u.files(), objects.TreeLimits()); err != nil {
		return err
	}
	rest, _, err := folders.SplitData(rel.Tree, rel.Data)
	if err != nil {
		return err
	}
	return objects.Check(u.a.force, rest, rel.Dir)
}

// siteWanted reports whether any release of a site is wanted.
func (a *Agent) siteWanted(site string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.wanted.Releases {
		if r.Site == site {
			return true
		}
	}
	return false
}

// wakeSite has the units of a site look again at what they may do.
func (a *Agent) wakeSite(site string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, u := range a.units {
		if k.site == site {
			signal(u.wake)
		}
	}
}

func (h *hookSite) end(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why == "" {
		h.why = why
		close(h.over)
	}
}

func (h *hookSite) Addr() string           { return ports.Loopback(h.port) }
func (h *hookSite) Allows() allowed        { return h.a.hookUsers(h.uid) }
func (h *hookSite) Handler() http.Handler  { return nil }
func (h *hookSite) ended() <-chan struct{} { return h.over }
func (h *hookSite) stays() bool            { return true }
func (h *hookSite) detach()                {}

func (h *hookSite) outcome() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

func (h *hookSite) stop(context.Context, time.Duration) {}

func (h *hookSite) check(ctx context.Context, c health.Check) catalog.Probe {
	return c.Probe(ctx, h.a.dialer(h.Allows()), h.Addr())
}
