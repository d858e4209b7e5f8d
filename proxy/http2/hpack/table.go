package hpack

// EntryCost is what an entry of a dynamic table counts beyond its bytes (RFC 7541, 4.1).
const EntryCost = 32

// entry is a field in a dynamic table.
type entry struct {
	at    uint32 // where its name begins, counted since the table began; its value follows
	name  uint16
	value uint16
	kind  Kind
	flaws flaws
}

// table is the dynamic table of one direction (RFC 7541, 2.3.2). Its memory grows with what is in it.
type table struct {
	buf     []byte
	base    uint32  // what at counts for buf[0]
	entries []entry // a ring whose length is a power of two
	added   uint32  // entries since the table began; the latest is entries[(added-1) % len]
	count   int     // that are there
	size    int     // as RFC 7541 counts
	most    int     // of size
}

// get returns the entry with an index from 0, the latest.
func (t *table) get(i int) (*entry, bool) {
	if i >= t.count {
		return nil, false
	}
	return &t.entries[(t.added-1-uint32(i))&uint32(len(t.entries)-1)], true
}

func (t *table) name(e *entry) []byte {
	at := e.at - t.base
	return t.buf[at : at+uint32(e.name)]
}

func (t *table) value(e *entry) []byte {
	at := e.at - t.base + uint32(e.name)
	return t.buf[at : at+uint32(e.value)]
}

// limit changes how large the table may be.
func (t *table) limit(most int) {
	t.most = most
	t.evict(0)
}

// evict makes room for an entry of that size.
func (t *table) evict(size int) {
	for t.count > 0 && t.size+size > t.most {
		e, _ := t.get(t.count - 1)
		t.size -= int(e.name) + int(e.value) + EntryCost
		t.count--
	}
	if t.count == 0 {
		t.base += uint32(len(t.buf))
		t.buf = t.buf[:0]
	}
}

// add puts a field in. One that is too large for the table empties it and is not in it, which is no error (RFC 7541, 4.4). Neither
// slice may be of the table.
func (t *table) add(name, value []byte, k Kind, f flaws) bool {
	size := len(name) + len(value) + EntryCost
	t.evict(size)
	if size > t.most {
		return false
	}
	t.room(len(name) + len(value))
	if t.count == len(t.entries) {
		t.more()
	}
	at := t.base + uint32(len(t.buf))
	t.buf = append(append(t.buf, name...), value...)
	t.entries[t.added&uint32(len(t.entries)-1)] = entry{at: at, name: uint16(len(name)), value: uint16(len(value)), kind: k, flaws: f}
	t.added++
	t.count++
	t.size += size
	return true
}

// room makes sure that n bytes can be appended to buf, the bytes of entries that are gone being given up first.
func (t *table) room(n int) {
	if len(t.buf)+n <= cap(t.buf) {
		return
	}
	live := t.buf
	if t.count > 0 {
		oldest, _ := t.get(t.count - 1)
		live = t.buf[oldest.at-t.base:]
	}
	gone := uint32(len(t.buf) - len(live))
	if len(live)+n > cap(t.buf) {
		size := max(cap(t.buf), 256)
		for size < len(live)+n {
			size += size / 2
		}
		t.buf = append(make([]byte, 0, size), live...)
	} else {
		t.buf = t.buf[:copy(t.buf[:len(live)], live)]
	}
	t.base += gone
}

// more doubles the ring.
func (t *table) more() {
	ring := make([]entry, max(8, 2*len(t.entries)))
	for i := range t.count {
		at := t.added - 1 - uint32(i)
		ring[at&uint32(len(ring)-1)] = t.entries[at&uint32(len(t.entries)-1)]
	}
	t.entries = ring
}

// clear empties the table for another connection; its memory stays.
func (t *table) clear(most int) {
	t.buf, t.base, t.added, t.count, t.size, t.most = t.buf[:0], 0, 0, 0, 0, most
}
