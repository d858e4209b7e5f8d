package http2

// Some clients, curl 7.88 among them, lose an answer when a reset comes with it, though that says that nothing is wrong. One that still
// sends its request may finish before it is told to stop (RFC 9113, 8.1). What it sends is dropped.
const (
	partingWait = 1_000_000_000
	partingRoom = 256 << 10 // bytes beyond its window, as many as over HTTP/1
	partingMost = 16        // streams of a connection; the oldest gives way
)

// parting is a stream that was answered and is still being sent. All else of it is gone.
type parting struct {
	id uint32
	at int64 // when the client is told to stop
}

// part lets the client of an answered stream finish what it sends.
func (c *Conn) part(id uint32) {
	if len(c.partings) == partingMost {
		c.addReset(c.partings[0].id, codeNone)
		c.partings = append(c.partings[:0], c.partings[1:]...)
	}
	c.addWindow(id, partingRoom)
	c.partings = append(c.partings, parting{id, c.now + partingWait})
}

// parted forgets a stream whose client has finished.
func (c *Conn) parted(id uint32) {
	for i, p := range c.partings {
		if p.id == id {
			c.partings = append(c.partings[:i], c.partings[i+1:]...)
			return
		}
	}
}

// stopParting tells those to stop whose time has come.
func (c *Conn) stopParting() {
	for len(c.partings) > 0 && c.partings[0].at <= c.now {
		c.addReset(c.partings[0].id, codeNone)
		c.partings = append(c.partings[:0], c.partings[1:]...)
	}
}
