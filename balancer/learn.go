package balancer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// An application's own session token is a second name for a visitor's place: an
// alias in the table of sessions, which leads there when the sticky cookie is lost or
// was never kept. Aliases are not counted.

// appKey is what the application tokens in the table are hashed with: of the cluster, so
// that every proxy and every later process finds what a saved table says. While a second
// session key is valid, what was learned under it is found too, and taken over.
func appKey(k Key) uint64 {
	h := hmac.New(sha256.New, k.Secret)
	h.Write([]byte("portico application token 1"))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// HashApp hashes an application's own session token for Request.App, Pool.Learn and
// Pool.Bear. It is never 0.
func (b *Balancer) HashApp(token []byte) uint64 { return Hash(token) }

// Learn notes that the application has given the visitor of a choice a session of
// its own, named by a hash of its token: a later request that bears the token and
// no sticky cookie is led to the same upstream. Zero is ignored.
func (p *Pool) Learn(c *Choice, app uint64, now int64) {
	if app == 0 || c.Upstream == nil {
		return
	}
	p.b.sessions.move(use{id: p.aliasNow(app), up: c.Upstream, start: now / 1000, issued: now / 1000, marks: markAlias}, now)
}

// Bear is Learn for a token that the request brought. It keeps an alias alive, but
// does not take one from another upstream: only the application may do that, or the
// loss of that upstream, with whose sessions their tokens move.
func (p *Pool) Bear(c *Choice, app uint64, now int64) {
	if app == 0 || c.Upstream == nil {
		return
	}
	f := p.learned(app)
	if f.known && f.up != c.Upstream && !c.byApp && (f.up == nil || f.up != c.home) {
		return
	}
	p.Learn(c, app, now)
}

// Decline says that the application has opened no session for a new visitor: no
// cookie is issued, and nothing is counted.
func (p *Pool) Decline(c *Choice) {
	if !c.New && !c.joined {
		return
	}
	c.Issue = false
	p.b.sessions.cancel(c.Session)
}

// alias is the id of an application's token in the table, under one of the valid keys.
func (p *Pool) alias(app, key uint64) uint64 { return mix((mix(app^key)|1)^p.hash) | 1 }

// aliasNow is alias under the key that signs.
func (p *Pool) aliasNow(app uint64) uint64 { return p.alias(app, (*p.b.appKeys.Load())[0]) }

// learned returns what is known of an application's token. What was learned under
// another key than the one that signs is taken over, so that it outlives the other key.
func (p *Pool) learned(app uint64) found {
	keys := *p.b.appKeys.Load()
	now := p.alias(app, keys[0])
	f := p.b.sessions.lookup(now)
	for _, k := range keys[1:] {
		if f.known {
			break
		}
		was := p.alias(app, k)
		if f = p.b.sessions.lookup(was); f.known {
			p.b.sessions.rename(was, now)
			p.b.sessions.rename(sessionOf(was), sessionOf(now))
		}
	}
	return f
}

// sessionOf is the id of the session that only an alias names. It follows from the
// token, so that a client without cookies is one session.
func sessionOf(alias uint64) uint64 { return mix(alias) | 1 }

// byToken is the session of a visitor who is known by the application's token alone.
func (p *Pool) byToken(r *Request, c *Choice, k *Cookie) (home *Upstream, ok bool) {
	f := p.learned(r.App)
	if !f.known || f.up == nil || f.up.pool != p {
		return nil, false
	}
	*k = Cookie{Token: f.up.Token(), Bare: true, Session: sessionOf(p.aliasNow(r.App)), Start: r.Now / 1000, Issued: r.Now / 1000}
	if s := p.b.sessions.lookup(k.Session); s.known {
		k.Start = s.start
	}
	c.byApp = true
	return f.up, true
}
