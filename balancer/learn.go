package balancer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// An application's own session token is a second name for a visitor's place: an
// alias in the table of sessions, which leads there when the sticky cookie is lost or
// was never kept. Aliases are not counted.

// appKey is what the application tokens in the table are hashed with: of the cluster, so
// that every proxy and every later process finds what a saved table says. While a second
// session key is valid, what was learned under it is view too, and taken over.
func appKey(k seal.Key) uint64 {
	h := hmac.New(sha256.New, k.Secret)
	h.Write([]byte("portico application token 1"))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// HashApp hashes an application's own session token for Request.App, Pool.Learn and
// Pool.Refresh. It is never 0.
func (b *Balancer) HashApp(token []byte) uint64 { return Hash(token) }

// Learn notes that the application has given the visitor of a choice a session of
// its own, named by a hash of its token: a later request that bears the token and
// no sticky cookie is led to the same upstream. Zero is ignored.
func (p *Pool) Learn(c *Choice, app uint64, now int64) {
	if app == 0 || c.Upstream == nil {
		return
	}
	if c.New || c.joined {
		p.b.sessions.Confirm(sessions.Visit[*Upstream]{ID: c.Session, At: c.Upstream, Start: c.Start, Issued: c.issued}, now)
	}
	p.b.sessions.Alias(p.aliasNow(app), c.Upstream, c.Session, now)
}

// Knows reports whether an application's token leads to an upstream already.
func (p *Pool) Knows(app uint64) bool { return p.learned(app).Known }

// Refresh is Learn for a token that the request brought. It keeps an alias alive, but
// does not take one from another upstream: only the application may do that, or the
// loss of that upstream, with whose sessions their tokens move, or the end of the session
// that it named.
func (p *Pool) Refresh(c *Choice, app uint64, now int64) {
	if app == 0 || c.Upstream == nil {
		return
	}
	f := p.learned(app)
	if f.Known && !c.byApp && f.At.holds() && f.At != c.Upstream && f.At != c.home &&
		p.b.sessions.Lookup(f.Names).Marks&sessions.MarkEnded == 0 {
		return
	}
	p.Learn(c, app, now)
}

// holds reports whether sessions can be at u: it is known, and has not left.
func (u *Upstream) holds() bool { return u != nil && !u.gone.Load() }

// Decline says that the application has opened no session for a new visitor: no
// cookie is issued, and nothing is counted, unless it has opened one in another answer
// to the same first burst.
func (p *Pool) Decline(c *Choice) {
	if !c.New && !c.joined {
		return
	}
	c.Issue = false
	p.b.sessions.Withdraw(c.Session)
}

// alias is the id of an application's token in the table, under one of the valid keys.
func (p *Pool) alias(app, key uint64) uint64 {
	return sessions.Mix((sessions.Mix(app^key)|1)^p.hash) | 1
}

// aliasNow is alias under the key that signs.
func (p *Pool) aliasNow(app uint64) uint64 { return p.alias(app, (*p.b.appKeys.Load())[0]) }

// learned returns what is known of an application's token. What was learned under
// another key than the one that signs is taken over, so that it outlives the other key.
func (p *Pool) learned(app uint64) view {
	keys := *p.b.appKeys.Load()
	now := p.alias(app, keys[0])
	f := p.b.sessions.Lookup(now)
	for _, k := range keys[1:] {
		if f.Known {
			break
		}
		was := p.alias(app, k)
		if f = p.b.sessions.Lookup(was); f.Known {
			p.b.sessions.Rename(was, now)
		}
	}
	return f
}

// sessionOf is the id of the session that only an alias names, because the table has
// forgotten the one with which it was learned. It follows from the token, so that a
// client without cookies is one session.
func sessionOf(alias uint64) uint64 { return sessions.Mix(alias) | 1 }

// byToken is the session of a visitor who is known by the application's token alone: the
// one with which the token came last, so that whoever lost the cookie goes on with it, and
// an operator who knows only the token ends or moves the right one.
func (p *Pool) byToken(t *table, r *Request, k *seal.Cookie, rd *reading) (home *Upstream, ok bool) {
	f := p.learned(r.App)
	if !f.Known || f.At == nil || f.At.pool != p {
		return nil, false
	}
	rd.token = true
	now := r.Now / 1000
	id, s := f.Names, p.b.sessions.Lookup(f.Names)
	if !isOf(&s, p) {
		id = sessionOf(p.aliasNow(r.App))
		s = p.b.sessions.Lookup(id)
	}
	switch {
	case isOf(&s, p):
		*k = seal.Cookie{Session: id, Start: s.Start, Issued: s.Issued}
		home = s.At
	case t.config.Life > 0:
		return nil, false // nobody knows when it began
	default:
		*k = seal.Cookie{Session: id, Start: now, Issued: now}
		home = f.At
	}
	if k.Judge(now, t.config.Idle, t.config.Life) != seal.Honoured {
		return nil, false
	}
	k.Token, k.Bare = home.Token(), true
	return home, true
}

// isOf reports whether f is a session of a pool.
func isOf(f *view, p *Pool) bool {
	return f.Known && f.Marks&sessions.MarkAlias == 0 && f.At != nil && f.At.pool == p
}
