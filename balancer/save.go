package balancer

import (
	"fmt"
	"io"
)

// SaveSessions writes the table of sessions, so that a process which takes over does not have
// to count anew.
func (b *Balancer) SaveSessions(w io.Writer) error {
	if err := b.sessions.Save(w); err != nil {
		return fmt.Errorf("save sessions: %w", err)
	}
	return nil
}

// RestoreSessions reads what SaveSessions wrote into the table, for the pools and
// upstreams that exist by now, and returns how many sessions it took. It takes none of
// what is damaged: a wrong place or time in an entry would lead a visitor away from the
// session that the cookie names.
func (b *Balancer) RestoreSessions(r io.ReadSeeker, now int64) (n int, err error) {
	n, since, err := b.sessions.Restore(r, b.upstream)
	if err != nil {
		return n, fmt.Errorf("restore sessions: %w", err)
	}
	b.trust(since, now)
	b.sessions.SweepAll(now)
	return n, nil
}

// trust takes over since when the table that was restored knew each upstream. It knew
// all sessions of those that it does not name: they came after it was saved.
func (b *Balancer) trust(since map[*Upstream]int64, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pools {
		for _, u := range p.Upstreams() {
			if known, ok := since[u]; ok {
				u.seen.Store(known)
			} else {
				u.seen.Store(now)
			}
		}
	}
}

// upstream returns an upstream by the name of its site and its id, or nil.
func (b *Balancer) upstream(site, id string) *Upstream {
	if p := b.Pool(site); p != nil {
		return p.Upstream(id)
	}
	return nil
}

// MergeSessions reads what SaveSessions wrote into a table that is in use: sessions that
// are not in it are taken, of the others the later use and the newer cookie count. It returns how
// many were taken. It is for what a process leaves that served beside this one for a while; what
// that knew before, RestoreSessions has read.
func (b *Balancer) MergeSessions(r io.ReadSeeker, now int64) (n int, err error) {
	n, err = b.sessions.Merge(r, b.upstream)
	if err != nil {
		return n, fmt.Errorf("merge sessions: %w", err)
	}
	b.sessions.SweepAll(now)
	return n, nil
}

// SettleFormer says that the process before this one has ended, or that there was none: of news that it was to bring, and has not told
// the outcome of, nobody knows whether they were brought. They are owed.
func (b *Balancer) SettleFormer() { b.sessions.SettleFormer() }
