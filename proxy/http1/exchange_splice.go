package http1

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

// SpliceLeft is how many bytes the driver may take from the source of OpSpliceDown or OpSpliceUp, and how many are in its pipe.
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
func (x *Exchange) Spliced(down bool, in, out int, src, dst Result) {
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
		x.writes.moved(x.now, out)
		x.upSince = x.now
		if src == Blocked {
			x.can &^= ReadUpstream
		}
		if dst == Blocked {
			x.can &^= WriteClient
		}
	} else {
		x.got += int64(in)
		x.sentUp = true
		x.reads.moved(x.now, in)
		if src == Blocked {
			x.can &^= ReadClient
		}
		if dst == Blocked {
			x.can &^= WriteUpstream
		}
	}
	x.spliceEnd(down, src, dst)
}

func (x *Exchange) spliceEnd(down bool, src, dst Result) {
	switch {
	case down && (dst == Failed || dst == EOF), !down && (src == Failed || src == EOF):
		x.clientLost()
	case down && (src == Failed || src == EOF) && !x.down.done:
		x.down.piped = 0
		x.cut(CauseUpstream, NoFault)
	case !down && (dst == Failed || dst == EOF):
		x.up.piped = 0
		x.upBroken = true
	}
}
