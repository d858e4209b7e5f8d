package balancer

import "encoding/binary"

// decode64 and decode32 give the value of a character of base64url and of a token's
// base32; 0xff: none. Every request has some fifty of these to decode. Tables take the
// same time for each of them, and have no branches to be guessed wrong.
var (
	decode64 = decoder("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
	decode32 = decoder(base32)
)

func decoder(alphabet string) (table [256]uint8) {
	for i := range table {
		table[i] = 0xff
	}
	for i := range len(alphabet) {
		table[alphabet[i]] = uint8(i)
	}
	return table
}

// sealed is a decoded seal, with room for decode to write whole words.
type sealed [sealLen + 2]byte

// decode reads base64url, eight characters at a time, and reports whether it was that.
func (raw *sealed) decode(text *[sealText]byte) bool {
	var bad uint8
	for i, j := 0, 0; i < sealText; i, j = i+8, j+6 {
		t := text[i : i+8 : i+8]
		a, b, c, d := decode64[t[0]], decode64[t[1]], decode64[t[2]], decode64[t[3]]
		e, f, g, h := decode64[t[4]], decode64[t[5]], decode64[t[6]], decode64[t[7]]
		bad |= a | b | c | d | e | f | g | h
		binary.BigEndian.PutUint64(raw[j:j+8], uint64(a)<<58|uint64(b)<<52|uint64(c)<<46|uint64(d)<<40|
			uint64(e)<<34|uint64(f)<<28|uint64(g)<<22|uint64(h)<<16)
	}
	return bad < 64
}

// peekSession returns the session id that a sealed cookie claims, for whoever
// wants to have the session's entry at hand by the time the seal is checked. It is
// not to be trusted, and 0 for what is no sealed cookie.
func peekSession(value []byte) uint64 {
	if len(value) < minCookie || len(value) > maxCookie {
		return 0
	}
	// Behind the key id's eight bits: four bits of the second character, and ten more.
	t := (*[12]byte)(value[len(value)-sealText:])
	id := uint64(decode64[t[1]]) << 60
	for i, c := range t[2:] {
		id |= uint64(decode64[c]&63) << (54 - 6*i)
	}
	return id
}
