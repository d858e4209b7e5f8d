// Package records knows where TLS records begin and end, without their keys.
package records

// Cutter follows the lengths of TLS records (RFC 8446, 5.1) through ciphertext that comes in pieces.
type Cutter struct {
	left int // bytes of the present record's body
	have int // bytes of its header
	size [2]byte
	kind byte
	mark *[proofSize]byte // of the last record of kind unreadRecord
}

const recordHeader = 5

// Feed takes a piece and returns how many records end in it.
func (c *Cutter) Feed(b []byte) (ended int) {
	for len(b) > 0 {
		if c.have < recordHeader {
			switch {
			case c.have == 0:
				c.kind = b[0]
			case c.have >= 3:
				c.size[c.have-3] = b[0]
			}
			b = b[1:]
			if c.have++; c.have < recordHeader {
				continue
			}
			c.left = int(c.size[0])<<8 | int(c.size[1])
			c.begin()
		}
		n := min(c.left, len(b))
		if c.mark != nil {
			copy(c.mark[proofSize-c.left:], b[:n])
		}
		b = b[n:]
		if c.left -= n; c.left == 0 {
			c.have = 0
			ended++
		}
	}
	return ended
}

// begin makes room for what Unread looks at, where the record may be that.
func (c *Cutter) begin() {
	c.mark = nil
	if c.kind == unreadRecord && c.left == proofSize {
		c.mark = new([proofSize]byte)
	}
}

// Even reports whether the last piece ended with a record.
func (c *Cutter) Even() bool { return c.have == 0 }
