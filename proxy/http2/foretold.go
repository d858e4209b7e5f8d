package http2

// foretoldMost is for how many requests that have not come yet a client's word on their urgency is kept; of more, the latest.
const foretoldMost = 8

// foretold is what a client has said about the urgency of requests before it sent them (RFC 9218, 7.1).
type foretold struct {
	list [foretoldMost]struct {
		id   uint32 // 0: none
		urge urgency
	}
	next int // the place that is used again first
}

// foretell keeps the urgency of a request that is still to come.
func (c *Conn) foretell(id uint32, u urgency) {
	if c.foretold == nil {
		c.foretold = new(foretold)
	}
	f := c.foretold
	for i := range f.list {
		if f.list[i].id == id {
			f.list[i].urge = u
			return
		}
	}
	f.list[f.next].id, f.list[f.next].urge = id, u
	f.next = (f.next + 1) % foretoldMost
}

// told returns what was said about a request that comes now, or what it says itself. What was said about earlier ones is out of date.
func (c *Conn) told(id uint32, own urgency) urgency {
	if c.foretold == nil {
		return own
	}
	for i := range c.foretold.list {
		e := &c.foretold.list[i]
		if e.id == id {
			own = e.urge
		}
		if e.id <= id {
			e.id = 0
		}
	}
	return own
}
