package balancer

import "portico/balancer/seal"

// reading is what the cookies and the token of a request say, besides the session that they name.
type reading struct {
	refused seal.Refusal              // why the first cookie was not honoured
	lost    Cause                     // CauseKey: a session whose key is no longer valid, unless another cookie or the token names one
	token   bool                      // the application's token is known
	some    bool                      // count has something
	count   [seal.RefusalCount]uint16 // cookies that were not honoured, by cause
}

// namedBy is what named a session.
type namedBy uint8

const (
	byNothing namedBy = iota
	byCookie
	byBareCookie // HAProxy's
	byToken      // the application's
)

// read finds the session of a request: the first of its cookies that is good, else the application's token. It
// fills in k and returns where the session is, and what named it. Browsers send the cookie of the longest path first, which is the one of
// this site, so it is what the first one is refused for that people are told.
func (p *Pool) read(t *table, r *Request, k *seal.Cookie, rd *reading) (home *Upstream, by namedBy) {
	value, values := r.Cookie, 1+len(r.Others)
	if len(value) == 0 {
		values = 0
	}
	for i := range values {
		if i > 0 {
			rd.count[seal.RefusedDuplicate]++
			value = r.Others[i-1]
			p.Expect(value)
		}
		home, refused := p.judge(t, r, value, k)
		if refused == seal.Honoured {
			rd.refused, rd.lost = seal.Honoured, CauseNone
			if k.Bare {
				return home, byBareCookie
			}
			return home, byCookie
		}
		rd.refuse(refused, i == 0)
	}
	if r.App != 0 {
		if home, ok := p.byToken(t, r, k, rd); ok {
			rd.lost = CauseNone
			return home, byToken
		}
	}
	return nil, byNothing
}

// refuse notes why a cookie was not honoured.
func (rd *reading) refuse(why seal.Refusal, first bool) {
	if first {
		rd.refused = why
	}
	if why == seal.RefusedKey {
		rd.lost = CauseKey
	}
	rd.count[why]++
	rd.some = true
}

// judge opens one cookie. One whose instance nobody knows is good too, as long as it is sealed: its visitor lost
// a session.
func (p *Pool) judge(t *table, r *Request, value []byte, k *seal.Cookie) (home *Upstream, refused seal.Refusal) {
	*k = seal.Cookie{}
	proof, refused := k.Read(value)
	if refused == seal.Honoured {
		refused = t.sealer.Check(k, &proof)
		p.b.sessions.Mend(k, r.Now/1000)
	}
	if refused == seal.Honoured {
		refused = k.Judge(r.Now/1000, t.config.Idle, t.config.Life)
	}
	if refused == seal.RefusedIdle || refused == seal.RefusedLife {
		refused = p.remembered(t, r, k, refused)
	}
	switch refused {
	case seal.Honoured:
		home = t.byToken.Find(k.Token)
		if home == nil && k.Bare {
			refused = seal.RefusedToken
		}
	case seal.RefusedKey:
		// Nobody vouches for the times in it, but only its sender would be deceived by them.
		if old := k.Judge(r.Now/1000, t.config.Idle, t.config.Life); old != seal.Honoured {
			refused = old
		}
	}
	return home, refused
}

// remembered judges a cookie that is too old by what the table knows of its session: a long stream keeps one
// alive without sending cookies, and a proxy whose clock was set back issues such.
func (p *Pool) remembered(t *table, r *Request, k *seal.Cookie, refused seal.Refusal) seal.Refusal {
	f := p.b.sessions.Lookup(k.Session)
	if !f.Known {
		return refused
	}
	known := seal.Cookie{Session: k.Session, Issued: max(k.Issued, f.Issued), Start: max(k.Start, f.Start)}
	return known.Judge(r.Now/1000, t.config.Idle, t.config.Life)
}

// take notes in a choice what was read, and counts the cookies that were not honoured.
func (p *Pool) take(c *Choice, rd *reading) {
	c.Refused, c.Lost, c.byApp = rd.refused, rd.lost, rd.token
	if !rd.some {
		return
	}
	for why, n := range rd.count {
		if n > 0 {
			p.Refused[why].Add(uint64(n))
		}
	}
}

// String returns what Preview.By says.
func (n namedBy) String() string {
	return [...]string{"", "cookie", "bare cookie", "token"}[n]
}
