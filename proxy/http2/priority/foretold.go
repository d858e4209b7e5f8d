package priority

// foretoldMost is for how many requests that have not come yet a client's word on their urgency is kept; of more, the latest.
const foretoldMost = 8

// Foretold is what a client has said about the urgency of requests before it sent them (RFC 9218, 7.1). Nil: it said nothing.
type Foretold struct {
	list [foretoldMost]struct {
		id   uint32 // 0: none
		urge Urgency
	}
	next int // the place that is used again first
}

// Keep takes what is said about a request that is still to come.
func (f *Foretold) Keep(id uint32, u Urgency) {
	for i := range f.list {
		if f.list[i].id == id {
			f.list[i].urge = u
			return
		}
	}
	f.list[f.next].id, f.list[f.next].urge = id, u
	f.next = (f.next + 1) % foretoldMost
}

// Of returns what was said about a request that comes now, or what it says itself. What was said about earlier ones is out of date.
func (f *Foretold) Of(id uint32, own Urgency) Urgency {
	if f == nil {
		return own
	}
	for i := range f.list {
		e := &f.list[i]
		if e.id == id {
			own = e.urge
		}
		if e.id <= id {
			e.id = 0
		}
	}
	return own
}
