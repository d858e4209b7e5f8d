package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// Some authentication schemes say who a connection belongs to, not who sent a request (RFC 4559, 6): after their handshake an
// application takes every request on the connection for that person's. So a connection to an upstream that has carried credentials of
// such a scheme, or was asked for them, serves one client's connection from then on, and goes with it. To the client it looks as if
// it spoke to the upstream without a proxy: where one connection ends, so does the other.

// MaxOwn is how many upstream connections one client's connection may have to itself. A browser has one for each host name; more than
// that comes from clients that ask several sites in turn.
const MaxOwn = 4

// Own says that the driver keeps a connection to an upstream that belongs to this client's connection alone. OpKeepUpstream implies it;
// a driver that releases an exchange between requests says it after Begin for each of them. The driver closes it together with the
// client's connection. When it has no room for another one, it closes the one that has waited longest.
func (x *Exchange) Own(u *Upstream) {
	x.disown(u)
	if len(x.peer.Own) == MaxOwn {
		x.disown(x.peer.Own[0])
	}
	x.peer.Own = append(x.peer.Own, u)
}

func (x *Exchange) owns(u *Upstream) bool {
	for _, o := range x.peer.Own {
		if o == u {
			return true
		}
	}
	return false
}

func (x *Exchange) disown(u *Upstream) {
	for i, o := range x.peer.Own {
		if o == u {
			x.peer.Own = append(x.peer.Own[:i], x.peer.Own[i+1:]...)
			return
		}
	}
}

// Mine reports whether OpConnect means the connection that OpKeepUpstream has kept. Connected follows, or Lost where it has ended.
func (x *Exchange) Mine() bool { return x.mine }

// elsewhere refuses what belongs to a connection where the client's carries many requests at a time: it is to come over HTTP/1.1, whose
// connection is the client's alone (RFC 9113, 7). No upstream has seen anything of it.
func (x *Exchange) elsewhere() {
	x.rec.Status = 421
	x.cut(account.CauseBound, http1.NoFault)
}

// Lost says that the upstream has ended the connection that belongs to this client. What the client sent belongs to a handshake or an
// identity that nobody knows any more: it is not sent anywhere else, and the client's connection is reset, as the upstream's was. A
// client does then what it does without a proxy: it begins anew.
func (x *Exchange) Lost() {
	x.disown(x.dec.Upstream)
	x.rec.Status = 502
	x.cut(account.CauseBound, http1.NoFault)
}

// Ended says that the upstream has ended a connection that was kept and is not in use: the client's ends after the present answer.
func (x *Exchange) Ended(u *Upstream) {
	x.disown(u)
	x.draining = true
}

// unbind ends the client's connection behind this answer, when the upstream connection that is bound to it cannot go on.
func (x *Exchange) unbind() {
	if x.bound {
		x.closing = true
		x.disown(x.dec.Upstream)
	}
}
