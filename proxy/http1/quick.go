package http1

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// quickFields is parseFields for what nearly every head is, in one pass of 64 bytes at a time: it sees all ends of lines, colons and
// control characters of these at once, where a look at each byte took a quarter of a request's instructions. It accepts nothing that
// parseFields does not, and reports false for whatever it does not take, after which nothing that it has noted holds.
func (h *Head) quickFields(at, limit int) (int, bool) {
	raw := h.raw
	line, colon := at, -1 // where the present line begins, and its first colon
	for p := at; p < len(raw); {
		colons, odd := marksAt(raw, p)
		next := p + 64
		for odd != 0 {
			i := bits.TrailingZeros64(odd)
			end := p + i
			if raw[end] != '\r' {
				if raw[end] != '\t' {
					return 0, false
				}
				odd &= odd - 1
				continue
			}
			if end+1 >= len(raw) || raw[end+1] != '\n' {
				return 0, false
			}
			if end == line {
				return end + 2, true
			}
			if colon < 0 {
				c := bits.TrailingZeros64(colons)
				if c > i {
					return 0, false
				}
				colon = p + c
			}
			if len(h.Fields) == limit || !h.quickField(line, colon, end) {
				return 0, false
			}
			line, colon = end+2, -1
			behind := ^uint64(0) << (i + 2)
			odd, colons = odd&behind, colons&behind
			next = max(next, line)
		}
		if colon < 0 && colons != 0 {
			colon = p + bits.TrailingZeros64(colons)
		}
		p = next
	}
	return 0, false
}

// quickField notes a line of which is known where it begins, has its colon and ends, and that its value is clean.
func (h *Head) quickField(line, colon, end int) bool {
	raw := h.raw
	n := colon - line
	if n < 2 {
		return false
	}
	name := raw[line:colon]
	k := &knownNames[knownSlot(name)]
	kind, common := k.kind, k.common
	if k.name != string(name) {
		if n, kind, common = fieldName(raw[line : colon+1]); n == 0 {
			return false
		}
	}
	from, to, plain := colon+2, end, true
	if from >= end || raw[colon+1] != ' ' || raw[from] <= ' ' || raw[end-1] <= ' ' {
		from, to = trimmed(raw, colon+1, end)
		plain = from == colon+2 && raw[colon+1] == ' ' && to == end
	}
	i := len(h.Fields)
	if i == cap(h.Fields) {
		h.Fields = slices.Grow(h.Fields, 16)
	}
	h.Fields = h.Fields[:i+1]
	f := &h.Fields[i] // filled in place: a copy would be read while its parts are still on their way
	f.line, f.nameEnd, f.value, f.valueEnd, f.end = uint32(line), uint32(colon), uint32(from), uint32(to), uint32(end+2)
	f.Kind, f.named, f.plain = kind, false, plain
	if common != CommonNone && h.common[common] == 0 {
		h.common[common] = uint16(i + 1)
	}
	return kind == KindOther || h.note(kind, raw[from:to], i) == NoFault
}

// trimmed takes the white space off both ends of b[from:to].
func trimmed(b []byte, from, to int) (int, int) {
	for from < to && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return from, to
}

// marksAt is marks of b[p:], of which there may be less than 64 bytes. What lies behind them in the buffer is looked at and forgotten.
func marksAt(b []byte, p int) (colons, odd uint64) {
	if p+64 <= cap(b) {
		colons, odd = marks((*[64]byte)(b[p : p+64]))
	} else {
		var rest [64]byte
		copy(rest[:], b[p:])
		colons, odd = marks(&rest)
	}
	if n := len(b) - p; n < 64 {
		odd &= 1<<n - 1
	}
	return colons, odd
}

// marksByWord is marks, eight bytes at a time.
func marksByWord(b *[64]byte) (colons, odd uint64) {
	for i := 0; i < 64; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		low := ^(w&^highs + (0x80-0x20)*ones | w) // the high bit: below 0x20
		colons |= gathered(zeros(w^':'*ones)) << i
		odd |= gathered(low&highs|zeros(w^0x7f*ones)) << i
	}
	return colons, odd
}

// zeros sets the high bit of every byte that is zero.
func zeros(w uint64) uint64 { return ^(w&^highs + ^uint64(highs) | w) & highs }

// gathered moves the high bits of eight bytes into the low eight bits.
func gathered(w uint64) uint64 { return w >> 7 * 0x0102040810204080 >> 56 }
