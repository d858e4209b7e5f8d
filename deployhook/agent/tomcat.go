package agent

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/tomcat"
	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// tomcatSite is one version of a web application in this machine's Tomcat. The
// instances of two releases answer at one address. Tomcat itself decides between
// them: by JSESSIONID it sends a session to the version with which the session began, and
// it sends new visitors to the version whose label sorts last. Tomcat keeps the sessions
// over an orderly restart of its own. A restart of the agent does not touch them.
type tomcatSite struct {
	a       *Agent
	context string // "/" for the root
	version string

	mu   sync.Mutex
	gone chan struct{} // made on first use, closed when the version has disappeared
	lost bool
}

// startTomcat installs the release beside the versions that run.
func (u *unit) startTomcat(want messages.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	a := u.a
	if a.tom == nil {
		return u.startOwnTomcat(want, rel, rec)
	}
	u.log.Warn("this site shares a Tomcat: every site in it can read the memory, the sessions and the Manager's password of the others", "remedy", "take agent.tomcat.url away, and each site gets a Tomcat of its own")
	lock := a.siteLock("tomcat of this machine")
	lock.Lock()
	defer lock.Unlock()
	rec.Context = contextPath(want.Settings)
	if other := a.tomcatOwner(rec.Context, rec.Site); other != "" {
		return nil, final(fmt.Errorf("tomcat: site %s already has the path %s here, and one Tomcat has each path once: choose another path", other, rec.Context))
	}
	apps, err := a.tom.List(u.ctx)
	if err != nil {
		return nil, err
	}
	rec.Tomcat = tomcat.NextVersion(apps, rec.Context)
	// Durable before Tomcat has it, so that a killed agent finds it again.
	if err := a.state.Change(func(s *state.File) { s.Instances[rec.ID] = rec }); err != nil {
		return nil, err
	}
	war, err := openWAR(rel)
	if err != nil {
		a.forget(rec.ID)
		return nil, final(err)
	}
	ctx, cancel := context.WithTimeout(u.ctx, max(a.o.HookTimeout, timeout(want.Settings)))
	err = a.tom.Deploy(ctx, rec.Context, rec.Tomcat, war)
	cancel()
	_ = war.Close()
	if err != nil {
		a.undeploy(rec)
		a.forget(rec.ID)
		var f *tomcat.Refusal
		if errors.As(err, &f) {
			return nil, final(fmt.Errorf("%w: Tomcat's log says why", err))
		}
		return nil, err
	}
	return &instance{running: &tomcatSite{a: a, context: rec.Context, version: rec.Tomcat}, rec: rec}, nil
}

// contextPath is the path under which Tomcat sees the site's requests.
func contextPath(s sites.Settings) string {
	p := strings.TrimSuffix(cmp.Or(s.Path, "/"), "/")
	if p == "" || s.Strip {
		return "/"
	}
	return p
}

// tomcatOwner returns another site that has an instance at this path.
func (a *Agent) tomcatOwner(context, site string) (owner string) {
	a.state.Peek(func(s *state.File) {
		for _, r := range s.Instances {
			if r.Kind == sites.KindTomcat && r.Context == context && r.Site != site {
				owner = r.Site
			}
		}
	})
	return owner
}

// undeploy takes a version away, with a deadline of its own: it also runs when
// the agent is about to end.
func (a *Agent) undeploy(rec state.Instance) {
	ctx, cancel := context.WithTimeout(context.Background(), tomcat.AnswerTime)
	defer cancel()
	if err := a.tom.Undeploy(ctx, rec.Context, rec.Tomcat); err != nil {
		a.log.Warn("version not removed from tomcat", "path", rec.Context, "version", rec.Tomcat, "error", err)
	}
}

// openWAR returns the release as a WAR: the one that the archive holds, or the
// folder packed on the fly. Both hold the release alone: no link leads to data.
func openWAR(rel folders.Release) (io.ReadCloser, error) {
	rest, _, err := folders.SplitData(rel.Tree, rel.Data)
	if err != nil {
		return nil, err
	}
	war, err := objects.WebApplication(rest.Files)
	if err != nil {
		return nil, err
	}
	dir, err := beneath.Open(rel.Dir)
	if err != nil {
		return nil, err
	}
	if war != "" {
		file, _, err := dir.File(war)
		return file, errors.Join(err, dir.Close())
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(errors.Join(packWAR(w, dir, rest), dir.Close())) }()
	return r, nil
}

// packWAR writes the files of a release's folder as a WAR, without compression: it goes
// over loopback and is unpacked at once.
func packWAR(to io.Writer, dir *beneath.Dir, files objects.Tree) error {
	z := zip.NewWriter(to)
	for _, f := range files.Files {
		if f.Path == "portico.toml" {
			continue
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.Path, Method: zip.Store, Modified: time.Now()})
		if err != nil {
			return err
		}
		file, _, err := dir.File(filepath.FromSlash(f.Path))
		if err != nil {
			return err
		}
		_, err = io.Copy(w, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return z.Close()
}

func (t *tomcatSite) Addr() string {
	addr, err := t.a.tom.Connector()
	if err != nil {
		return "127.0.0.1:0" // nothing answers there, which is the truth
	}
	return addr
}

func (t *tomcatSite) Allows() allowed       { return t.a.sites.None }
func (t *tomcatSite) Handler() http.Handler { return nil }
func (t *tomcatSite) stays() bool           { return true }
func (t *tomcatSite) detach()               {}

func (t *tomcatSite) ended() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		t.gone = make(chan struct{})
		if t.lost {
			close(t.gone)
		}
	}
	return t.gone
}

func (t *tomcatSite) outcome() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost {
		return "Tomcat does not have version " + t.version + " of " + t.context + " any more"
	}
	return ""
}

func (t *tomcatSite) vanished() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.lost && t.gone != nil {
		close(t.gone)
	}
	t.lost = true
}

func (t *tomcatSite) stop(context.Context, time.Duration) {
	t.a.undeploy(state.Instance{Context: t.context, Tomcat: t.version})
}

// check asks the Manager for the version's state. The version that new visitors
// get is asked for its page as well; an older one cannot be, without a session of
// its own.
func (t *tomcatSite) check(ctx context.Context, c health.Check) catalog.Probe {
	p := catalog.Probe{At: time.Now()}
	apps, err := t.a.tom.List(ctx)
	if err != nil {
		p.Code, p.Error = "L7RSP", err.Error()
		if health.TimedOut(err) {
			p.Code = "L7TOUT"
		}
		return p
	}
	state, newest := "", true
	for _, app := range apps {
		if app.Context != t.context {
			continue
		}
		if app.Version == t.version {
			state = app.State
		}
		newest = newest && app.Version <= t.version
	}
	if state != "running" {
		p.Code, p.Error = "L7STS", "Tomcat says that this version is "+cmp.Or(state, "not installed")
		if state == "" {
			t.vanished()
		}
		return p
	}
	if !newest {
		p.OK, p.Code = true, "L4OK"
		return p
	}
	return c.Probe(ctx, t.a.dialer(t.a.sites.None), t.Addr())
}
