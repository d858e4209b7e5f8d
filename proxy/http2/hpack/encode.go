package hpack

import "encoding/binary"

// What the encoder's table holds at most, whatever the client would keep: the fields that a site repeats in each of its answers.
const (
	encoderMost  = 2 << 10
	encoderField = 256 // bytes of a field that may be in it
	encoderSlots = 64
)

// Encoder does HPACK for one connection. A field that comes a second time is put into the client's table, and takes a byte from the
// third time on. What is secret never gets there (RFC 7541, 7.1.3): nobody who can guess at it may learn from an answer's length.
type Encoder struct {
	table table
	slots []slot // by hash; nil before the first field
	size  int    // of the table as the client has it
	least int    // the smallest size that the client has asked for since the last block, -1: none
	last  int    // and the latest
}

// slot remembers a field by its hash.
type slot struct {
	hash uint16
	at   uint16 // what table.added was when it had been put in, 0: seen once. It may have come round since, so the entry is looked at
}

// Reset prepares for a connection.
func (e *Encoder) Reset() {
	e.table.clear(encoderMost)
	clear(e.slots)
	e.size, e.least, e.last = TableMost, -1, TableMost
}

// Limit takes the client's SETTINGS_HEADER_TABLE_SIZE.
func (e *Encoder) Limit(most int) {
	most = min(most, TableMost)
	if e.least < 0 || most < e.least {
		e.least = most
	}
	e.last = most
}

// Block begins a header block: it tells what has become of the table's size (RFC 7541, 4.2).
func (e *Encoder) Block(dst []byte) []byte {
	if e.least < 0 {
		return dst
	}
	if e.least < e.size {
		dst = appendInt(dst, 0x20, 5, e.least)
		e.size = e.least
		e.table.limit(min(e.size, encoderMost))
	}
	if e.last > e.size {
		dst = appendInt(dst, 0x20, 5, e.last)
		e.size = e.last
		e.table.limit(min(e.size, encoderMost))
	}
	e.least = -1
	return dst
}

// Status appends the field that begins every head of an answer.
func (e *Encoder) Status(dst []byte, status int) []byte {
	switch status {
	case 200:
		return append(dst, 0x80|8)
	case 204:
		return append(dst, 0x80|9)
	case 206:
		return append(dst, 0x80|10)
	case 304:
		return append(dst, 0x80|11)
	case 400:
		return append(dst, 0x80|12)
	case 404:
		return append(dst, 0x80|13)
	case 500:
		return append(dst, 0x80|14)
	}
	return append(dst, 8, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
}

// Field appends a field.
func (e *Encoder) Field(dst, name, value []byte) []byte {
	static, secret, fleeting := staticName(name)
	if secret {
		return e.literal(dst, 0x10, 4, static, name, value)
	}
	if size := len(name) + len(value); fleeting || size > encoderField || size+EntryCost > e.table.most {
		return e.literal(dst, 0, 4, static, name, value)
	}
	if e.slots == nil {
		e.slots = make([]slot, encoderSlots)
	}
	at, h := hashField(name, value)
	s := &e.slots[at]
	if s.hash != h {
		*s = slot{hash: h}
		return e.literal(dst, 0, 4, static, name, value)
	}
	if i := uint16(e.table.added) - s.at; s.at != 0 && int(i) < e.table.count {
		if f, _ := e.table.get(int(i)); equalFold(name, e.table.name(f)) && string(value) == string(e.table.value(f)) {
			return appendInt(dst, 0x80, 7, staticCount+1+int(i))
		}
		*s = slot{hash: h} // another field with the same hash
		return e.literal(dst, 0, 4, static, name, value)
	}

	dst = e.literal(dst, 0x40, 6, static, name, value)
	e.insert(s, name, value)
	return dst
}

// insert puts a field into the table. The client does the same.
func (e *Encoder) insert(s *slot, name, value []byte) {
	var small [encoderField]byte
	if e.table.add(appendLower(small[:0], name), value, KindOther, 0) {
		s.at = uint16(e.table.added)
	}
}

// Plain appends a field that the client is to keep in no table, with its name's index in the static one; 0: it has none.
func (e *Encoder) Plain(dst []byte, static int, name, value []byte) []byte {
	return e.literal(dst, 0, 4, static, name, value)
}

// literal appends a field spelt out, with the name's index where it has one. Huffman's code is not used: of what remains of a usual head
// it saves 12 bytes of 54, and costs 7 ns for each byte, 3 % of a request.
func (e *Encoder) literal(dst []byte, pattern byte, bits, static int, name, value []byte) []byte {
	dst = appendInt(dst, pattern, bits, static)
	if static == 0 {
		dst = appendLower(appendInt(dst, 0, 7, len(name)), name)
	}
	return append(appendInt(dst, 0, 7, len(value)), value...)
}

// appendInt appends an integer whose first byte has that many bits of it, the others being the pattern's (RFC 7541, 5.1).
func appendInt(dst []byte, pattern byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, pattern|byte(n))
	}
	dst = append(dst, pattern|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func appendLower(dst, name []byte) []byte {
	for _, c := range name {
		dst = append(dst, lower(c))
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold reports whether name is low, which has no capitals.
func equalFold[T string | []byte](name []byte, low T) bool {
	if len(name) != len(low) {
		return false
	}
	for i, c := range name {
		if lower(c) != low[i] {
			return false
		}
	}
	return true
}

// hashField spreads fields over the slots; that some which differ may meet costs bytes, no more. The hash is never zero: that is an empty
// slot.
func hashField(name, value []byte) (slot int, hash uint16) {
	h := hashBytes(uint64(len(name))<<32|uint64(len(value)), name)
	h = hashBytes(h, value)
	h ^= h >> 32
	return int(h>>16) % encoderSlots, uint16(h) | 1
}

func hashBytes(h uint64, b []byte) uint64 {
	const mix = 0x9e3779b97f4a7c15
	for len(b) >= 8 {
		h = (h ^ binary.LittleEndian.Uint64(b)) * mix
		h ^= h >> 29
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * mix
	}
	return h ^ h>>31
}
