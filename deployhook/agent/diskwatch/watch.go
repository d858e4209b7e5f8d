package diskwatch

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"portico/deployhook/agent/beneath"
	"portico/internal/pause"
)

// Site is one whose files are counted.
type Site struct {
	Name  string
	Root  string // its folder; see skipped
	Limit int64  // bytes of it; 0: no limit
}

// skipped are the folders of a site that the agent fills: releases, and logs, which are cut.
var skipped = []string{"releases", "log"}

// Watch holds the two rules. Its fields are set before Run and not changed.
type Watch struct {
	Dir     string        // of the agent's state; sites lie below it
	Reserve int64         // bytes that stay free there, at most a tenth of the file system; 0: none
	Sites   func() []Site // those that could write now, the held ones included
	// Hold stops a site for a reason and keeps it stopped; an empty reason lets it
	// start again. It is called for every site after each count.
	Hold   func(site, reason string)
	Logger *slog.Logger

	mu      sync.Mutex
	seen    map[string]*seen
	touched bool // the reserve is
	told    time.Time
}

// seen is what is known of a site.
type seen struct {
	use     beneath.Use // at the last count
	at      time.Time   // of that
	base    beneath.Use // when the disk was well, or at the first count
	basedAt time.Time
	next    time.Time // of the slow counts
	limit   string    // why it is held; empty: it is not
	reserve string
	warned  bool
}

const (
	// look is between two looks at what is free, and at which sites are due to be counted. Instances are checked in the same moments.
	look = 2 * time.Second
	// A count comes after countGap, and not before countShare times what it took: it
	// is a small part of the machine's work, however many files there are.
	countGap   = 10 * time.Second
	countShare = 20
	// baseAge is how old the state may become that growth is measured from. A site
	// that grows slowly is not taken for one that fills the disk.
	baseAge = 5 * time.Minute
	// tellGap is between two lines of log about a reserve that nobody gives back.
	tellGap = time.Minute
)

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	w.mu.Lock()
	w.seen = make(map[string]*seen)
	w.mu.Unlock()
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { each(ctx, w.watchRoom) })
	both.Go(func() { each(ctx, w.countDue) })
}

// each calls do at once and then again and again.
func each(ctx context.Context, do func(context.Context)) {
	for do(ctx); pause.ForTick(ctx, look) == nil; {
		do(ctx)
	}
}

// countDue counts the sites whose turn it is, slowly.
func (w *Watch) countDue(ctx context.Context) {
	sites := w.Sites()
	w.forget(sites)
	for _, s := range sites {
		if w.Reserve <= 0 && s.Limit <= 0 && !w.holds(s.Name) || !w.due(s.Name) {
			continue
		}
		begun := time.Now()
		use, err := w.count(s, politely(ctx))
		if ctx.Err() != nil {
			return
		}
		w.judgeLimit(s, use, err, time.Since(begun))
	}
}

// politely sleeps as long as the work before it took, three times.
func politely(ctx context.Context) func() error {
	last := time.Now()
	return func() error {
		t := time.NewTimer(min(3*time.Since(last), time.Second))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		last = time.Now()
		return ctx.Err()
	}
}

func (w *Watch) due(site string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[site]
	return s == nil || time.Until(s.next) < look/2 // the next look is farther from it than this one
}

func (w *Watch) holds(site string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[site]
	return s != nil && s.limit+s.reserve != ""
}

// forget drops sites that are no more.
func (w *Watch) forget(sites []Site) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.seen {
		if !slices.ContainsFunc(sites, func(s Site) bool { return s.Name == name }) {
			delete(w.seen, name)
			w.Hold(name, "")
		}
	}
}

// count counts what a site has on disk.
func (w *Watch) count(s Site, pace func() error) (sum beneath.Use, err error) {
	state, err := beneath.Open(w.Dir)
	if err != nil {
		return sum, err
	}
	device := state.Device()
	_ = state.Close()
	root, err := beneath.Open(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return sum, nil
	}
	if err != nil {
		return sum, err
	}
	defer root.Close()
	names, err := root.Names()
	for _, name := range names {
		if slices.Contains(skipped, name) {
			continue
		}
		dir, err := root.Dir(name)
		if errors.Is(err, beneath.ErrLink) { // an operator's own: no site can make a link here
			dir, err = beneath.Open(filepath.Join(s.Root, name))
		}
		if err != nil {
			continue // no folder
		}
		use, err := dir.Use(device, pace)
		_ = dir.Close()
		sum.Bytes, sum.Names, sum.Here = sum.Bytes+use.Bytes, sum.Names+use.Names, sum.Here+use.Here
		if err != nil {
			return sum, err
		}
	}
	return sum, err
}

// note remembers a count; w.mu is held.
func (w *Watch) note(site string, use beneath.Use) *seen {
	s := w.seen[site]
	now := time.Now()
	if s == nil {
		s = &seen{use: use, at: now, base: use, basedAt: now}
		w.seen[site] = s
	}
	s.use, s.at = use, now
	if !w.touched && now.Sub(s.basedAt) > baseAge {
		s.base, s.basedAt = use, now
	}
	return s
}

// judgeLimit holds a site to its own limit.
func (w *Watch) judgeLimit(site Site, use beneath.Use, err error, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.note(site.Name, use)
	s.next = time.Now().Add(max(countGap, countShare*took))
	reason := ""
	switch {
	case err != nil && site.Limit > 0 && errors.Is(err, beneath.ErrDeep):
		reason = "stopped: limits.disk cannot be held: " + err.Error() + ": remove such folders in " + site.Root
	case err != nil:
		w.Logger.Warn("what a site has on disk is not counted", "site", site.Name, "error", err)
	case site.Limit > 0 && use.Bytes > site.Limit:
		reason = limitReason(site.Root, use.Bytes, site.Limit)
	}
	if near(use.Bytes, site.Limit) && !s.warned {
		w.Logger.Warn("a site has nearly as much on disk as limits.disk lets it have: it is stopped when it has more", "site", site.Name, "has", size(use.Bytes), "limit", size(site.Limit))
	}
	s.warned = near(use.Bytes, site.Limit) || reason != ""
	s.limit = w.say(site.Name, s.limit, reason)
	w.Hold(site.Name, s.limit+s.reserve)
}

// say logs that a site is held or let go, and returns the reason that holds. The
// first one stays as it was said, though the figures change.
func (w *Watch) say(site, was, reason string) string {
	switch {
	case was == "" && reason != "":
		w.Logger.Error("a site is stopped for what it has on disk", "site", site, "reason", reason)
	case was != "" && reason == "":
		w.Logger.Info("a site may start again: its disk is well", "site", site)
	case was != "" && reason != "":
		return was
	}
	return reason
}

// watchRoom looks at what is free, and stops a site when it is less than the reserve.
func (w *Watch) watchRoom(ctx context.Context) {
	if w.Reserve <= 0 {
		return
	}
	r := Free(w.Dir)
	w.mu.Lock()
	bytes, names := r.low(w.Reserve, w.touched)
	if !bytes && !names {
		w.wellLocked()
	}
	w.mu.Unlock()
	if !bytes && !names {
		return
	}
	if b, n := r.low(w.Reserve, false); !b && !n {
		return // more is free than when sites are stopped, less than when they may start
	}
	w.findCulprit(ctx, names)
}

// findCulprit counts all sites at full speed and judges them.
func (w *Watch) findCulprit(ctx context.Context, names bool) {
	var now, before []growth
	for _, s := range w.Sites() {
		use, err := w.count(s, ctx.Err)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.Logger.Warn("what a site has on disk is not counted", "site", s.Name, "error", err)
		}
		w.mu.Lock()
		w.touched = true
		last := seen{use: use, at: time.Now()}
		if k := w.seen[s.Name]; k != nil {
			last = *k
		}
		k := w.note(s.Name, use)
		if k.reserve == "" {
			now = append(now, growth{s.Name, use.Here - last.use.Here, use.Names - last.use.Names, time.Since(last.at)})
			before = append(before, growth{s.Name, use.Here - k.base.Here, use.Names - k.base.Names, time.Since(k.basedAt)})
		}
		w.mu.Unlock()
	}
	w.judgeRoom(Free(w.Dir), names, now, before)
}

// judgeRoom stops the site that has grown most, or says that none has. From then
// on growth counts anew: stopping one more that grew before would free nothing.
func (w *Watch) judgeRoom(r Room, names bool, lists ...[]growth) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, n := r.low(w.Reserve, false); !b && !n {
		return // somebody has freed some meanwhile
	}
	g, ok := culprit(r, w.Reserve, names, lists...)
	if s := w.seen[g.site]; ok && s != nil {
		s.reserve = w.say(g.site, "", reserveReason(w.Dir, g, r, w.Reserve, names))
		w.Hold(g.site, s.limit+s.reserve)
		w.rebaseLocked()
		return
	}
	if time.Since(w.told) > tellGap {
		w.told = time.Now()
		w.Logger.Error("little room is left on the agent's file system, and no site has grown by enough to be the cause: free some (files that are deleted but still open do not show: lsof +L1)",
			"folder", w.Dir, "free", size(r.Free), "reserve", size(r.reserve(w.Reserve)), "files", r.Names)
	}
}

// wellLocked lets the sites go that were stopped for the reserve.
func (w *Watch) wellLocked() {
	if !w.touched {
		return
	}
	w.touched, w.told = false, time.Time{}
	w.rebaseLocked()
	for name, s := range w.seen {
		if s.reserve != "" {
			s.reserve = w.say(name, s.reserve, "")
			w.Hold(name, s.limit)
		}
	}
}

func (w *Watch) rebaseLocked() {
	for _, s := range w.seen {
		s.base, s.basedAt = s.use, time.Now()
	}
}
