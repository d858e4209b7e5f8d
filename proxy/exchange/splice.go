package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// Splice says that the driver can move bodies between the sides itself: ReadUpstream stands for OpSpliceDown, WriteUpstream for
// OpSpliceUp.
func (x *Exchange) Splice(r Ready) { x.splice = r }

func (x *Exchange) spliceable(f *flow, side Ready) bool {
	if x.splice&side == 0 || f.mode != bodyLength || f.left < spliceMin || f.r != f.w || x.hold {
		return false
	}
	if side == ReadUpstream {
		return x.headDone && x.can&WriteClient != 0
	}
	return x.can&WriteUpstream != 0 && (x.dec.MaxBody == 0 || x.req.Length <= x.dec.MaxBody)
}

// SpliceLeft is how many bytes the driver may take from the source of OpSpliceDown or OpSpliceUp, and how many of this body wait in its
// pipe. Zero does not say that the pipe is empty: it may hold what was left of a body that was given up, which must reach nobody.
func (x *Exchange) SpliceLeft(down bool) (left int64, piped int) {
	f := &x.up
	if down {
		f = &x.down
	}
	if f.done {
		return 0, f.piped
	}
	return f.left, f.piped
}

// Spliced says that in bytes were taken from the source and out bytes given to the other side. src and dst tell how source and
// destination are now.
func (x *Exchange) Spliced(down bool, in, out int, src, dst wire.Result) {
	f := &x.up
	if down {
		f = &x.down
	}
	f.left -= int64(in)
	f.bytes += int64(in)
	f.piped += in - out
	f.dirty = true
	f.done = f.left == 0
	if down {
		x.rec.BytesOut += int64(out)
		if out > 0 {
			x.writes.moved(x.now, out)
			x.owed[Client].Forget()
		}
		if in > 0 || f.piped == 0 { // until now it waited for the client
			x.upSince = x.now
		}
		if src == wire.Blocked {
			x.can &^= ReadUpstream
		}
		if dst == wire.Blocked {
			x.can &^= WriteClient
		}
	} else {
		x.got += int64(in)
		x.sentUp = true
		x.reads.moved(x.now, in)
		if out > 0 {
			x.upSince = x.now
			x.owed[Up].Forget()
		}
		if src == wire.Blocked {
			x.can &^= ReadClient
		}
		if dst == wire.Blocked {
			x.can &^= WriteUpstream
		}
	}
	x.spliceEnd(down, src, dst)
}

func (x *Exchange) spliceEnd(down bool, src, dst wire.Result) {
	switch {
	case down && (dst == wire.Failed || dst == wire.EOF), !down && (src == wire.Failed || src == wire.EOF):
		x.clientLost()
	case down && (src == wire.Failed || src == wire.EOF) && !x.down.done:
		x.cut(account.CauseUpstream, http1.NoFault)
	case !down && (dst == wire.Failed || dst == wire.EOF):
		x.up.piped = 0 // given up, though the driver's pipe still holds them
		x.upBroken = true
	}
}
