package loop

// cutter follows the lengths of TLS records (RFC 8446, 5.1) through ciphertext that comes in pieces.
type cutter struct {
	left int // bytes of the present record's body
	have int // bytes of its header
	size [2]byte
}

const recordHeader = 5

// feed takes a piece and returns how many records end in it.
func (c *cutter) feed(b []byte) (ended int) {
	for len(b) > 0 {
		if c.have < recordHeader {
			if c.have >= 3 {
				c.size[c.have-3] = b[0]
			}
			b = b[1:]
			if c.have++; c.have < recordHeader {
				continue
			}
			c.left = int(c.size[0])<<8 | int(c.size[1])
		}
		n := min(c.left, len(b))
		b = b[n:]
		if c.left -= n; c.left == 0 {
			c.have = 0
			ended++
		}
	}
	return ended
}

// even reports whether the last piece ended with a record.
func (c *cutter) even() bool { return c.have == 0 }
