package exchange

import "time"

// Unacked is what the system holds of what one side was sent and has not acknowledged. The system takes megabytes at once, and says that
// there is room again when a third of them has gone, for which a slow side needs minutes. So while a side does nothing that shows, its
// driver looks now and then, and a side that takes what is held moves.
type Unacked struct {
	bytes int   // at the first look, or when the side was last seen to move
	since int64 // when that was
	at    int64 // of the last look; 0: none since Forget
	left  int   // at the last look
}

const (
	looks    = 8                     // in the time for which a side may do nothing: so much too early or too late is it given up
	lookRest = 10 * time.Millisecond // between two looks at least
)

// Forget begins anew, because the side has shown that it moves.
func (o *Unacked) Forget() { o.at = 0 }

// Look says that so many bytes are held, and reports whether the side has taken more meanwhile than it must. rate is in bytes a second; 0:
// one is enough. Who writes a message in one piece may give the bytes less those that are written: only the difference counts.
func (o *Unacked) Look(now int64, bytes, rate int) bool {
	first := o.at == 0
	o.at, o.left = now, bytes
	gone := int64(o.bytes - bytes)
	if !first && gone >= 0 && (gone == 0 || rate > 0 && transferTime(gone, int64(rate)) < now-o.since) {
		return false
	}
	o.bytes, o.since = bytes, now
	return !first && gone > 0
}

// next is when to look again at a side that has not moved since then and is given up at end; 0: nothing can be seen any more.
func (o *Unacked) next(since, end int64) int64 {
	rest := max((end-since)/looks, int64(lookRest))
	switch {
	case o.at == 0:
		return since + rest
	case o.left <= 0:
		return 0
	}
	return o.at + rest
}
