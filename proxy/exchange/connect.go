package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// follow acts on a decision.
func (x *Exchange) follow() {
	switch x.dec.Verdict {
	case Forward:
		if !x.client.alone() && (x.dec.Private || x.req.Binds()) {
			x.elsewhere()
			return
		}
		if x.dec.Upstream == nil {
			x.dec.Status = 503
			x.answer()
			return
		}
		if x.dec.MaxBody > 0 && x.req.Length > x.dec.MaxBody {
			x.refuse(http1.FaultBodyLarge)
			return
		}
		x.connect()
	case Answer, Park:
		x.answer()
	}
}

func (x *Exchange) connect() {
	x.rec.Attempts++
	x.connecting, x.sentUp, x.heard, x.unread = false, false, false, false
	x.mine = x.owns(x.dec.Upstream)
	x.bound = x.mine || x.dec.Private || x.req.Binds()
	x.fresh = x.fresh || x.dec.Private && !x.mine // what others bound to it before is theirs
	x.shares, x.endUp, x.given, x.garbled = x.dec.Upstream.HTTP2, false, false, false
	x.fresh = x.fresh || !x.shares && !x.served && !x.mine && !x.mayRepeatLater()
	x.phase, x.phaseSince = phaseConnect, x.now
	x.step(account.StepConnect, x.rec.Attempts)
}

// Connected says that OpConnect is done. reused tells a pooled connection, splice what the driver can move by itself.
func (x *Exchange) Connected(reused bool, splice Ready) {
	if !x.Connecting() {
		return
	}
	x.has, x.reused, x.rec.Reused, x.connecting = true, reused, reused, false
	x.splice = splice
	x.rec.Connected = x.now
	if reused {
		x.step(account.StepConnected, 1)
	} else {
		x.step(account.StepConnected, 0)
	}
	x.can = x.can&^ReadUpstream | WriteUpstream
	x.phase = phaseActive
	x.upgrade = x.upgrades()
	if x.upgrade == nil && x.req.Upgrades() && x.req.UpgradeTo() != nil {
		x.closing = true // what follows may be meant in the other protocol
	}
	x.hold = x.req.ExpectsContinue() && !x.asked && x.up.r == x.up.w && !x.up.dirty
	size := smallBuffer
	if x.req.Chunked {
		size = chunkBuffer
	}
	x.up.begin(size)
	x.up.out = http1.AppendRequest(x.up.out, &x.req, &x.dec.Edits, x.req.ExpectsContinue(), x.upgrade)
	if x.shares {
		x.streamUp()
	}
	x.upSince = x.now
	x.owed[Up].Forget()
}

// upgrades is the protocol that the client asks for and may have, nil without one.
func (x *Exchange) upgrades() []byte {
	p := x.req.Upgrade()
	if p != nil && !x.dec.AnyUpgrade && !http1.FoldsTo(p, "websocket") {
		return nil
	}
	return p
}

// Connecting reports whether OpConnect was returned and neither Connected, ConnectFailed nor a deadline has ended that attempt.
func (x *Exchange) Connecting() bool { return x.phase == phaseConnect && x.connecting }

// ConnectFailed says that OpConnect did not succeed. Without an attempt that waits it says nothing.
func (x *Exchange) ConnectFailed(cause account.Cause) {
	if !x.Connecting() {
		return
	}
	x.connecting = false
	x.step(account.StepConnectFailed, int(cause))
	x.failed(Why{Cause: cause, Retry: true})
}
