package balancer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// An application's own session token is a second name of a visitor's session. The table of
// sessions has it as an alias, which finds the instance when the sticky cookie is lost or
// was never kept. Aliases are not counted as sessions.

// appKey is the key with which the application's tokens are hashed in the table. It follows
// from the cluster's session key, so that every proxy and every later process can read a
// saved table. While a second session key is valid, aliases under that one are found too,
// and renamed.
func appKey(k seal.Key) uint64 {
	h := hmac.New(sha256.New, k.Secret)
	h.Write([]byte("portico application token 1"))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// HashApp hashes an application's own session token for Request.App, Pool.Learn and
// Pool.Refresh. The hash is never 0.
func (b *Balancer) HashApp(token []byte) uint64 { return Hash(token) }

// Learn notes that the application has begun a session of its own for the visitor of a
// choice. app is the hash of its token, 0: there is none. A later request with the token
// and without a sticky cookie goes to the same upstream.
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

// Refresh is Learn for a token that the request brought. It keeps the token's alias alive. Only
// an answer of the application may take the alias from another upstream that is still in the
// pool, unless the session that the alias names has ended. When an upstream loses its
// sessions, their tokens move with them.
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

// holds reports whether u can have sessions: it is known, and has not left the pool.
func (u *Upstream) holds() bool { return u != nil && !u.gone.Load() }

// Decline notes that the application has begun no session for a new visitor. The visitor gets
// no cookie, and no session is counted. It is otherwise if another answer to the same first
// burst has begun one.
func (p *Pool) Decline(c *Choice) {
	if !c.New && !c.joined {
		return
	}
	c.Issue = false
	p.b.sessions.Withdraw(c.Session)
}

// alias returns the id that an application's token has in the table under a key.
func (p *Pool) alias(app, key uint64) uint64 {
	return sessions.Mix((sessions.Mix(app^key)|1)^p.hash) | 1
}

// aliasNow returns the id under the key that signs.
func (p *Pool) aliasNow(app uint64) uint64 { return p.alias(app, (*p.b.appKeys.Load())[0]) }

// learned returns what the table knows of an application's token. It renames an alias that is
// there under another valid key, so that the alias outlives that key.
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

// sessionOf returns the session id of a visitor whom only an alias names, because the table has
// forgotten the session with which the alias was learned. The id follows from the token, so
// that all requests of a client without cookies are one session.
func sessionOf(alias uint64) uint64 { return sessions.Mix(alias) | 1 }

// byToken finds the session of a visitor who brings the application's token alone. It is the
// session with which the token came last: a visitor who lost the cookie goes on with it, and
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
		return nil, false // its life is bounded, and nobody knows when it began
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
