package seal

// decode64, decode36 and decode32 give the value of a character of base64url, of base 36
// and of a token's base32; 0xff: none. Every request has some fifty of these to decode. Tables take the
// same time for each of them, and have no branches to be guessed wrong.
var (
	decode64 = decoder("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
	decode36 = decoder(base36)
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

// Proof is what a seal has beside the session: the key's id and the MAC.
type Proof struct {
	key uint8
	mac mac
}

// unseal reads a seal, and reports whether it was base64url.
func unseal(text *[sealText]byte) (p Proof, session uint64, start int64, ok bool) {
	a, bad1 := sextets(text[0:8])
	b, bad2 := sextets(text[8:16])
	c, bad3 := sextets(text[16:24])
	d, bad4 := sextets(text[24:32])
	e, bad5 := sextets(text[32:40])
	p.key = uint8(a >> 40)
	p.mac = mac{hi: c<<32 | d>>16, lo: d<<48 | e}
	return p, a<<24 | b>>24, int64(b<<16&(1<<40-1) | c>>32), bad1|bad2|bad3|bad4|bad5 < 64
}

// sextets reads eight characters of base64url as a number of 48 bits. bad is 64 or more if
// one of them was none.
func sextets(t []byte) (v uint64, bad uint8) {
	_ = t[7]
	a, b, c, d := decode64[t[0]], decode64[t[1]], decode64[t[2]], decode64[t[3]]
	e, f, g, h := decode64[t[4]], decode64[t[5]], decode64[t[6]], decode64[t[7]]
	v = uint64(a)<<42 | uint64(b)<<36 | uint64(c)<<30 | uint64(d)<<24 | uint64(e)<<18 | uint64(f)<<12 | uint64(g)<<6 | uint64(h)
	return v, a | b | c | d | e | f | g | h
}

// PeekSession returns the session id that a sealed cookie claims, for whoever
// wants to have the session's entry at hand by the time the seal is checked. It is
// not to be trusted, and 0 for what is no sealed cookie.
func PeekSession(value []byte) uint64 {
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
