package explain

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/conf/sites"
	"portico/membership/catalog/ids"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// choose tells of the instances, the session and the choice among them.
func (e *explanation) choose() {
	st := e.st
	pool := st.State.Pool
	snap := pool.Snapshot(e.now.UnixMilli())
	for i := range snap.Upstreams {
		u := &snap.Upstreams[i]
		why := cmp.Or(u.AdminReason, u.Reason)
		if why != "" {
			why = ": " + why
		}
		e.say("instance", u.Name, "%s, %s, %s%s%s, token %s, release %s%s", u.Status, counted(u.Sessions, "session"), counted(u.InFlight, "running request"),
			ceiling(" of ", u.MaxConns), ceiling(", at most sessions: ", u.MaxSessions), u.Token, cmp.Or(ids.ShortRelease(u.Release), "-"), why)
	}
	l := pool.Preview(&e.pick)
	if st.Sticky {
		e.session(&l)
		if e.noticed(&l) {
			return
		}
	}
	e.choice(&l, snap.Policy)
	if st.Logout != "" && e.path == st.Logout {
		e.say("logout", "ends the session", "after the answer, because of session.logout")
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ceiling(text string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s%d", text, n)
}

// session tells what is known of the visitor's session.
func (e *explanation) session(l *balancer.Preview) {
	if l.Refused != seal.Honoured {
		e.say("cookie", "refused", "%s", refusalText(l.Refused))
	}
	switch {
	case l.By == "" || l.Ended:
		if l.Cause == balancer.CauseKey {
			e.say("session", "lost", "the cookie was sealed with a key that is no longer valid; %s says %s", sticky.SessionLostHeader, l.Cause)
			return
		}
		e.say("session", "new", "nothing in the request names a session that is alive")
		return
	case e.adopted != "" && l.By == "bare cookie":
		e.say("session", "adopted", "%s leads to %s; the visitor gets a sealed cookie", e.adopted, cmp.Or(l.From, "an instance that is gone"))
	case l.By == "bare cookie":
		e.say("session", "adopted", "a token as HAProxy sets it names %s; it is replaced by a sealed cookie", cmp.Or(l.From, "an instance that is gone"))
	case l.By == "token":
		e.say("session", "by token", "the application's token leads to %s", cmp.Or(l.From, "an instance that is gone"))
	default:
		e.say("session", sticky.SessionName(l.Session), "%s, on %s", e.life(l), cmp.Or(l.From, "an instance that nobody knows any more"))
	}
	if l.Moved {
		e.say("session", "has moved", "since this cookie was issued; it is replaced")
	}
}

// life says how old a session is.
func (e *explanation) life(l *balancer.Preview) string {
	since := func(at int64) string { return e.now.Sub(time.Unix(at, 0)).Round(time.Second).String() }
	text := "begun " + since(l.Start) + " ago"
	if l.Used == 0 {
		return text + ", not seen yet by this proxy since its start"
	}
	return text + ", last used " + since(l.Used) + " ago"
}

// refusalText words why a cookie is not honoured.
func refusalText(r seal.Refusal) string {
	switch r {
	case seal.RefusedMalformed:
		return "it is not a cookie of this proxy"
	case seal.RefusedForged:
		return "its seal does not fit: it was changed, or comes from another cluster or site"
	case seal.RefusedKey:
		return "it was sealed with a key that is no longer valid"
	case seal.RefusedToken:
		return "no instance has its token"
	case seal.RefusedIdle:
		return "its session was idle for longer than session.idle"
	case seal.RefusedLife:
		return "its session is older than session.life"
	case seal.RefusedEnded:
		return "its session was ended: by an operator, by the application, or at session.logout"
	case seal.Honoured, seal.RefusedDuplicate:
	}
	return r.String()
}

// noticed reports whether the page about a lost session would be the answer.
func (e *explanation) noticed(l *balancer.Preview) bool {
	if l.Cause == balancer.CauseNone || l.Free || l.Upstream == nil {
		return false
	}
	h := e.a.Header
	c := &balancer.Choice{Lost: l.Cause}
	f := e.st.Notice(c, e.pick.Cookie, sticky.Value(h["Cookie"], e.st.Cookie.Notice),
		site.Navigates(e.a.Method, h.Get("Sec-Fetch-Mode"), h.Get("Accept")), e.client.Proto == "https")
	switch {
	case f != nil:
		e.say("notice", "shown", "the visitor is told of the lost session by a page (session.notice), and comes again; nothing moves before that")
		return true
	case !e.st.WantsNotice:
		e.say("notice", "off", "people are not told by a page (session.notice = false)")
	case strings.Contains(strings.Join(h["Cookie"], ";"), e.st.Cookie.Notice+"="):
		e.say("notice", "seen", "the page about the lost session was shown before")
	default:
		e.say("notice", "none", "this request does not open a page (Sec-Fetch-Mode, Accept), so it goes on")
	}
	return false
}

// choice tells which instance gets the request.
func (e *explanation) choice(l *balancer.Preview, policy sites.Policy) {
	if !l.Ended && l.By != "" && l.Cause != balancer.CauseNone && !l.Free {
		e.say("session", "lost", "it cannot go on on %s, cause %s: the visitor moves once, stays there, and the application reads %s: cause=%s",
			cmp.Or(l.From, "its instance"), l.Cause, sticky.SessionLostHeader, l.Cause)
	}
	switch {
	case l.None == balancer.NoneFull && e.st.AsksTicket() && l.Session == 0:
		e.room(l)
	case l.None == balancer.NoneAway:
		e.say("choice", "none", "%s cannot be reached and keeps the session, until its process is known to have ended or session.patience (%s) is over: 503, with a page that tries again by itself",
			l.From, e.st.PoolConfig.Health.Patience)
	case l.Trial:
		e.to(l.Upstream, "session.patience is over: it is asked once more, before the session is given up")
	case l.None == balancer.NoneFull:
		e.say("choice", "none", "every instance has as many sessions as session.max allows, and this visitor has lost one: 503, to come again soon")
	case l.None != balancer.NoneReason:
		e.say("choice", "none", "%s: 503", l.None)
	case l.By != "" && !l.Ended && l.Guess && l.Upstream != nil:
		e.to(l.Upstream, "no instance is known to be up: it may still answer")
	case l.By != "" && !l.Ended && l.Cause == balancer.CauseNone:
		e.to(l.Upstream, "its session is there")
	case l.By != "" && !l.Ended && l.Free:
		e.to(l.Upstream, "its instance cannot take it, and the site keeps no sessions in its instances")
	case l.By != "" && !l.Ended && l.Upstream != nil:
		e.to(l.Upstream, "follows from the session's id, so that all its requests agree")
	case l.Joins:
		e.to(l.Upstream, "the first request of this visitor is on its way there, and this one joins it")
	case l.Guess:
		e.say("choice", "a guess", "no instance is known to be up: a new visitor gets one that may still answer, or 503")
	case l.Upstream != nil && l.Rotation > 1:
		e.to(l.Upstream, "by policy "+string(policy)+", which looks at the request")
	case l.Upstream != nil:
		e.to(l.Upstream, "the only one in rotation")
	default:
		e.say("choice", "by policy "+string(policy), "one of %d instances in rotation", l.Rotation)
	}
}

// to names the chosen instance, and whether the request would wait for a place.
func (e *explanation) to(u *balancer.Upstream, why string) {
	spec := u.Spec()
	e.say("choice", spec.Name, "%s", why)
	if n := spec.MaxConns; n > 0 && int(u.InFlight()) >= n {
		e.say("queue", "waits", "%s has its limit of %s: up to %s, then 503; visitors with a session go first", spec.Name, counted(n, "request"), e.st.PoolConfig.Queue)
	}
}

// room tells of the waiting room.
func (e *explanation) room(l *balancer.Preview) {
	place := fmt.Sprintf("a place behind %d of %d who wait", l.Before, l.Waiting)
	if l.Ticket {
		place = fmt.Sprintf("its ticket keeps place %d of %d", l.Before+1, l.Waiting)
	}
	e.say("room", "waits", "every instance has as many sessions as session.max allows (%d each): 503 with the waiting room, %s", e.st.MaxSessions, place)
}
