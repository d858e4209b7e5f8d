package isolation

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// A message's bytes are words of eight characters: four name the message, four
// count the words. So a byte tells whose it is and where it belongs, a dump can be
// read, and a piece that is lost or doubled shows as well.

const (
	largest  = 8 << 20
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
)

// mark names a message: 18 bits of seed, 2 of the client, 2 of its exchange, 2 of what it is.
type mark uint32

const (
	ofRequest = iota
	ofAnswer
	ofSurplus // what an origin sends behind an answer
)

func markOf(seed, client, n, what int) mark {
	return mark(seed&(1<<18-1)<<6 | client<<4 | n<<2 | what)
}

// String is how a message is named on the wire.
func (m mark) String() string {
	b := four(uint32(m))
	return string(b[:])
}

// owner is how a message is named to people.
func (m mark) owner() string {
	what := [4]string{"request", "answer", "surplus behind the answer", "?"}[m&3]
	return fmt.Sprintf("%s %d of client %d of seed %d", what, m>>2&3, m>>4&3, m>>6)
}

func four(n uint32) [4]byte {
	return [4]byte{alphabet[n>>18&63], alphabet[n>>12&63], alphabet[n>>6&63], alphabet[n&63]}
}

// ruler is the bytes of a message without a name.
var ruler = sync.OnceValue(func() []byte {
	b := make([]byte, largest+64<<10)
	for i := 0; i+8 <= len(b); i += 8 {
		k := four(uint32(i / 8))
		copy(b[i+4:], k[:])
	}
	return b
})

// fill makes b the bytes of a message from an offset on.
func (m mark) fill(b []byte, off int64) {
	name, r := four(uint32(m)), ruler()[off:off+int64(len(b))]
	word := uint64(binary.LittleEndian.Uint32(name[:]))
	i := 0
	for ; i < len(b) && (off+int64(i))%8 != 0; i++ {
		b[i] = r[i] | name[(off+int64(i))%8&3]&in(off+int64(i))
	}
	for ; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], binary.LittleEndian.Uint64(r[i:])|word)
	}
	for ; i < len(b); i++ {
		b[i] = r[i] | name[(off+int64(i))%8&3]&in(off+int64(i))
	}
}

// in is a mask: whether an offset is among the four that name the message.
func in(off int64) byte {
	if off%8 < 4 {
		return 0xff
	}
	return 0
}

// text is n bytes of a message.
func (m mark) text(n int) string {
	b := make([]byte, n)
	m.fill(b, 0)
	return string(b)
}

// differ returns where b is not what the message has from an offset on, -1: nowhere.
func (m mark) differ(b []byte, off int64) int {
	if off+int64(len(b)) > int64(len(ruler())) {
		return 0
	}
	var want [4 << 10]byte
	for at := 0; at < len(b); at += len(want) {
		w := want[:min(len(want), len(b)-at)]
		m.fill(w, off+int64(at))
		if string(w) == string(b[at:at+len(w)]) {
			continue
		}
		for i := range w {
			if w[i] != b[at+i] {
				return at + i
			}
		}
	}
	return -1
}

// claim says whose bytes these are, as far as they tell.
func claim(b []byte) string {
	for shift := 0; shift < 300 && shift+16 <= len(b); shift++ {
		m, k, ok := word(b[shift:])
		m2, k2, ok2 := word(b[shift+8:])
		if ok && ok2 && m == m2 && k2 == k+1 {
			return fmt.Sprintf("the %s at %d", mark(m).owner(), max(int64(k)*8-int64(shift), 0))
		}
	}
	return "nobody's pattern"
}

func word(b []byte) (m, k uint32, ok bool) {
	for i, c := range b[:8] {
		d := digit(c)
		if d < 0 {
			return 0, 0, false
		}
		if i < 4 {
			m = m<<6 | uint32(d)
		} else {
			k = k<<6 | uint32(d)
		}
	}
	return m, k, true
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 36
	case c == '-':
		return 62
	case c == '_':
		return 63
	}
	return -1
}

// named reads a name off the wire.
func named(s string) (mark, bool) {
	if len(s) != 4 {
		return 0, false
	}
	m := uint32(0)
	for i := range s {
		d := digit(s[i])
		if d < 0 {
			return 0, false
		}
		m = m<<6 | uint32(d)
	}
	return mark(m), true
}
