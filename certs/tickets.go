package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"portico/membership/catalog/command"
)

// tickets seals and opens the session tickets of visitors with keys that all
// proxies share, so that a visitor who comes back resumes whichever process meets
// them. It hangs on a tls.Config by its functions and not by the config's own
// keys, because those stay behind when a config is cloned.
//
// A ticket opens only for the name that it was handed out for: a policy that one
// host has cannot be walked around with the ticket of another.
type tickets struct {
	now func() time.Time

	mu   sync.Mutex
	keys []command.TicketKey // newest first, guarded by mu
	set  atomic.Pointer[ticketSet]
}

// ticketSet is what the keys come to at a moment.
type ticketSet struct {
	box *tls.Config // only its ticket keys are used: the first seals, all open
	due time.Time   // when another set must take its place
}

// lonelyFor is how long a proxy uses one key of its own when the catalog has none
// that is valid, because it could not be written for days.
const lonelyFor = 12 * time.Hour

// hang makes c use the tickets. Clones of c do so, too.
func (t *tickets) hang(c *tls.Config) {
	c.WrapSession, c.UnwrapSession = t.wrap, t.unwrap
}

// take replaces the keys.
func (t *tickets) take(keys []command.TicketKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = keys
	t.set.Store(t.choose(t.now()))
}

// current returns the set for now.
func (t *tickets) current() *ticketSet {
	now := t.now()
	if s := t.set.Load(); s != nil && now.Before(s.due) {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.set.Load(); s != nil && now.Before(s.due) {
		return s
	}
	s := t.choose(now)
	t.set.Store(s)
	return s
}

// choose makes the set for now: the newest key that has begun to seal comes first,
// then all others that open.
func (t *tickets) choose(now time.Time) *ticketSet {
	var valid [][32]byte
	seals := -1
	due := now.Add(lonelyFor)
	for _, k := range t.keys {
		if !now.Before(k.Until) || len(k.Key) != 32 {
			continue
		}
		begun := !now.Before(k.From)
		if begun && seals < 0 {
			seals = len(valid)
		}
		if next := k.From; !begun && next.Before(due) {
			due = next
		}
		if k.Until.Before(due) {
			due = k.Until
		}
		valid = append(valid, [32]byte(k.Key))
	}
	switch {
	case len(valid) == 0:
		var own [32]byte
		_, _ = rand.Read(own[:]) // never fails
		valid, seals = append(valid, own), 0
	case seals < 0:
		seals = len(valid) - 1 // this clock is behind the others
	}
	valid[0], valid[seals] = valid[seals], valid[0]
	s := &ticketSet{box: &tls.Config{MinVersion: tls.VersionTLS12}, due: due}
	s.box.SetSessionTicketKeys(valid)
	return s
}

// ticketName marks the server name among what a session carries.
const ticketName = "portico name 1\x00"

func nameEntry(cs tls.ConnectionState) []byte {
	return append([]byte(ticketName), normalHost(cs.ServerName)...)
}

// wrap implements tls.Config.WrapSession.
func (t *tickets) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	ss.Extra = append(ss.Extra, nameEntry(cs))
	return t.current().box.EncryptTicket(cs, ss)
}

// unwrap implements tls.Config.UnwrapSession. A ticket that does not open, or was
// made for another name, means a full handshake.
func (t *tickets) unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	ss, err := t.current().box.DecryptTicket(identity, cs)
	if ss == nil || err != nil {
		return nil, err
	}
	want := nameEntry(cs)
	for _, e := range ss.Extra {
		if bytes.Equal(e, want) {
			return ss, nil
		}
	}
	return nil, nil
}
