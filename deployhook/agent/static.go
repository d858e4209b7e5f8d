package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/static"
	"portico/deployhook/archive"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// staticSite is a release of files: an instance without a process.
type staticSite struct{ *static.Site }

// startStatic makes an instance of the release's files. It needs no process.
func (u *unit) startStatic(want messages.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	s, err := u.a.newStatic(want.Settings, rel)
	if err != nil {
		return nil, err
	}
	return &instance{running: s, rec: rec}, nil
}

// openStatic serves a release that is installed.
func (a *Agent) openStatic(site, id string, s sites.Settings) (*staticSite, error) {
	rel := folders.Release{Site: a.dirs(site)}
	rel.Dir = rel.Site.Release(id)
	var err error
	if rel.Data, err = folders.DataNames(s); err != nil {
		return nil, err
	}
	if rel.Account, err = a.siteAccount(site, s); err != nil {
		return nil, err
	}
	if rel.Tree, err = a.store.Tree(ids.FilesOf(id), archive.Limits{}); err != nil {
		return nil, err
	}
	return a.newStatic(s, rel)
}

func (a *Agent) newStatic(set sites.Settings, rel folders.Release) (*staticSite, error) {
	s, err := static.Open(set, rel, a.readable(rel.Account), a.traffic)
	var refused *static.Refusal
	switch {
	case errors.As(err, &refused):
		return nil, final(err)
	case err != nil:
		return nil, err
	}
	return &staticSite{s}, nil
}

// readable returns a function that reports whether a site's account may read a file. A hard link
// can bring a file of somebody else into the site's data: the agent does not send such a file to
// visitors.
func (a *Agent) readable(acc account.Account) func(fs.FileInfo) bool {
	if !a.root {
		return func(fs.FileInfo) bool { return true }
	}
	return func(fi fs.FileInfo) bool { return beneath.Readable(fi, acc.UID, acc.GID) }
}

func (s *staticSite) Addr() string           { return "" }
func (s *staticSite) Allows() allowed        { return nil }
func (s *staticSite) Handler() http.Handler  { return s.Site }
func (s *staticSite) ended() <-chan struct{} { return nil }
func (s *staticSite) outcome() string        { return "" }
func (s *staticSite) stays() bool            { return true }
func (s *staticSite) detach()                { s.Close() }

func (s *staticSite) stop(context.Context, time.Duration) { s.Close() }

func (s *staticSite) check(ctx context.Context, c health.Check) catalog.Probe { return s.Check(ctx, c) }
