package hpack

import "portico/proxy/wire"

// TableMost is how large a dynamic table may be: the value that holds where SETTINGS say nothing (RFC 9113, 6.5.2).
const TableMost = 4 << 10

// Decoder undoes HPACK for one connection.
type Decoder struct {
	table   table
	scratch []byte // borrowed while a block is read: the strings of the field at hand
}

// Field is one of a block. Its slices hold until the next is read.
type Field struct {
	Name, Value []byte
	Kind        Kind
	flaws       flaws
}

// Flawed reports whether the field may not stand in any message (RFC 9113, 8.2.1).
func (f *Field) Flawed() bool { return f.flaws != 0 }

// Reset prepares for a connection.
func (d *Decoder) Reset() { d.table.clear(TableMost) }

// Begin prepares for a block and reads what changes the table's size, which stands before all fields and at most twice: once for the
// smallest and once for the last of several changes (RFC 7541, 4.2).
func (d *Decoder) Begin(block []byte, mem wire.Memory) (rest []byte, ok bool) {
	d.scratch = mem.Get(huffmanMost(len(block)) + TableMost)
	for range 2 {
		if len(block) == 0 || block[0]&0xe0 != 0x20 {
			break
		}
		var size int
		if size, block, ok = readInt(block, 5); !ok || size > TableMost {
			return nil, false
		}
		d.table.limit(size)
	}
	return block, true
}

// End gives back what begin has borrowed.
func (d *Decoder) End(mem wire.Memory) {
	mem.Put(d.scratch)
	d.scratch = nil
}

// Next reads a field from the beginning of b. False: the block is no HPACK, and nothing of the connection can be read any more.
func (d *Decoder) Next(b []byte, f *Field) (rest []byte, ok bool) {
	switch c := b[0]; {
	case c&0x80 != 0:
		i, rest, ok := readInt(b, 7)
		return rest, ok && d.indexed(i, f)
	case c&0xc0 == 0x40:
		if b, ok = d.literal(b, 6, f); ok {
			d.table.add(f.Name, f.Value, f.Kind, f.flaws)
		}
		return b, ok
	case c&0xe0 == 0x20:
		return nil, false
	}
	return d.literal(b, 4, f)
}

// indexed finds a field that is in one of the tables.
func (d *Decoder) indexed(i int, f *Field) bool {
	if i == 0 {
		return false
	}
	if i <= staticCount {
		e := &staticTable[i-1]
		*f = Field{e.n, e.v, e.kind, e.flaws}
		return true
	}
	e, ok := d.table.get(i - staticCount - 1)
	if ok {
		*f = Field{d.table.name(e), d.table.value(e), e.kind, e.flaws}
	}
	return ok
}

// literal reads a field whose value is spelt out, and its name where that has no index.
func (d *Decoder) literal(b []byte, bits int, f *Field) (rest []byte, ok bool) {
	i, b, ok := readInt(b, bits)
	if !ok {
		return nil, false
	}
	s := d.scratch[:0]
	if i == 0 {
		if f.Name, s, b, ok = readString(b, s); !ok {
			return nil, false
		}
		f.Kind, f.flaws = judge(f.Name, nil)
	} else {
		if !d.indexed(i, f) {
			return nil, false
		}
		f.flaws &= flawName
		if i > staticCount { // adding to the table may move it
			s = append(s, f.Name...)
			f.Name = s
		}
	}
	if f.Value, _, b, ok = readString(b, s[len(s):]); !ok {
		return nil, false
	}
	if !cleanValue(f.Value) {
		f.flaws |= flawValue
	}
	return b, true
}

// readString reads a string (RFC 7541, 5.2). One in Huffman's code is appended to free, whose room must do, and free moves behind it.
func readString(b, free []byte) (s, left, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, nil, false
	}
	coded := b[0]&0x80 != 0
	n, b, ok := readInt(b, 7)
	if !ok || n > len(b) {
		return nil, nil, nil, false
	}
	if !coded {
		return b[:n], free, b[n:], true
	}
	s, ok = appendHuffman(free, b[:n])
	return s, s[len(s):], b[n:], ok
}

// readInt reads an integer whose first byte has that many bits of it (RFC 7541, 5.1). Nothing here counts as far as 2^28.
func readInt(b []byte, bits int) (n int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	most := 1<<bits - 1
	n = int(b[0]) & most
	b = b[1:]
	if n < most {
		return n, b, true
	}
	for shift := 0; shift < 28 && len(b) > 0; shift += 7 {
		c := b[0]
		b = b[1:]
		n += int(c&0x7f) << shift
		if c < 0x80 {
			return n, b, true
		}
	}
	return 0, nil, false
}
