package http2

// What a client may send that moves nothing: PING, SETTINGS, PRIORITY, CONTINUATION, empty DATA, frames that nobody knows, and
// WINDOW_UPDATE for more than it was sent. Each is answered or skipped, as many as come (CVE-2019-9512, -9515, -9518, CVE-2024-27316).
const (
	frameBudget  = 1000 // at once: far more than a browser sends in its life
	framesRefill = 10   // given back in a second
	framesWorth  = 4    // given back for each frame that carries a request or a body, either way
)

// What it may give up of its requests, and what we must give up for its errors, before the connection ends (CVE-2023-44487,
// CVE-2025-8671). Each request that it waited for gives one back.
const (
	resetBudget  = 1000
	resetsRefill = 10 // given back in a second: pages that ask at each key, maps that are dragged, for hours
)

// A client gives room back as it reads, in pieces as small as it likes: for each byte of a body it may say so twice, of the stream and of
// the connection. It may do so long after the byte was sent, but never has more to read than the largest window (RFC 9113, 6.9.1).
const (
	updatesWorth = 2
	updatesMost  = updatesWorth * windowMost
)

// budget is how much a client may do that serves nobody. Time gives it back, and so does what serves somebody.
type budget struct {
	left, most int
	refill     int // in a second
	seen       int64
}

func newBudget(most, refill int, now int64) budget {
	return budget{left: most, most: most, refill: refill, seen: now}
}

// add gives n back.
func (b *budget) add(n int) { b.left = min(b.left+n, b.most) }

// spend takes n off and reports whether it lasts.
func (b *budget) spend(n int, now int64) bool {
	if n > b.left {
		const second = 1_000_000_000
		if back := (now - b.seen) / (second / int64(b.refill)); back > 0 {
			b.add(int(min(back, int64(b.most))))
			b.seen = now
		}
	}
	b.left -= n
	return b.left >= 0
}

// idle charges for n frames that move nothing.
func (c *Conn) idle(n int) bool {
	if c.frames.spend(n, c.now) {
		return true
	}
	c.fail(codeCalm)
	return false
}

// update charges for a WINDOW_UPDATE.
func (c *Conn) update() bool {
	if c.updates > 0 {
		c.updates--
		return true
	}
	return c.idle(1)
}

// gaveUp charges for a stream that ends by the client's doing. An origin can end no more than we have opened.
func (c *Conn) gaveUp() bool {
	if c.origin != nil || c.resets.spend(1, c.now) {
		return true
	}
	c.fail(codeCalm)
	return false
}
