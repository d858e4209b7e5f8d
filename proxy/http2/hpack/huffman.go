package hpack

// The Huffman code of HPACK (RFC 7541, 5.2 and B) is canonical: the lengths of the symbols' codes say everything. Codes of one length
// follow one another in the order of their symbols, and the first of a length follows the last of the length before.

// huffmanLengths holds the length of each symbol's code as a letter: 'A' is 5 bits, 'Z' is 30. The end-of-string symbol, 30 ones, is
// not among them: it must not occur.
const huffmanLengths = "" +
	"ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXX" +
	"BFFHIBDGFFDGDBBBAAABBBBBBBCDKBHF" +
	"IBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJB" +
	"KABABABBBACCBBBABCBAABCCCCCKGJIX" +
	"PRPPRRRSRSSSSSTSTTRSTSSSSQRSRSST" +
	"RQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS" +
	"VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWW" +
	"PTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV"

const (
	shortCode = 10 // bits: what a look into the table decodes at once, nearly all that text consists of
	longCode  = 30
)

// huffmanTables is the code made ready.
type huffmanTables struct {
	short [1 << shortCode]uint16 // by the next ten bits: symbol and length, zero where the code is longer
	first [longCode + 2]uint32   // the first code of each length, shifted to the left of 32 bits
	from  [longCode + 2]int      // where the symbols of each length begin in order
	order [256]byte              // symbols by length, then by value
}

var huffman = func() (t huffmanTables) {
	code, n := uint32(0), 0
	for length := 5; length <= longCode; length++ {
		t.first[length], t.from[length] = code<<(32-length), n
		for sym := range 256 {
			if int(huffmanLengths[sym]-'A')+5 != length {
				continue
			}
			t.order[n] = byte(sym)
			n++
			if length <= shortCode {
				at := int(code) << (shortCode - length)
				for i := range 1 << (shortCode - length) {
					t.short[at+i] = uint16(sym)<<4 | uint16(length)
				}
			}
			code++
		}
		code <<= 1
	}
	t.first[longCode+1], t.from[longCode+1] = 0xffffffff, n
	return t
}()

// huffmanMost is how long a string can be that takes n bytes encoded.
func huffmanMost(n int) int { return n*8/5 + 1 }

// appendHuffman appends what src encodes to dst. False: it is not the code of any string (RFC 7541, 5.2).
func appendHuffman(dst, src []byte) ([]byte, bool) {
	bits, have := uint64(0), 0 // have bits, at the left
	for {
		for have <= 56 && len(src) > 0 {
			bits |= uint64(src[0]) << (56 - have)
			have += 8
			src = src[1:]
		}
		if e := huffman.short[bits>>(64-shortCode)]; e != 0 {
			length := int(e & 15)
			if length > have {
				return dst, padding(bits, have)
			}
			dst = append(dst, byte(e>>4))
			bits <<= length
			have -= length
			continue
		}
		sym, length := longSymbol(uint32(bits >> 32))
		if length > have {
			return dst, padding(bits, have)
		}
		dst = append(dst, sym)
		bits <<= length
		have -= length
	}
}

// padding reports whether what is left may end a string: fewer than eight bits, all ones.
func padding(bits uint64, have int) bool {
	return have < 8 && bits>>(64-have) == 1<<have-1
}

// longSymbol finds the symbol whose code begins next, and its length; one that cannot be where none does.
func longSymbol(next uint32) (byte, int) {
	for length := shortCode + 1; length <= longCode; length++ {
		i := int((next-huffman.first[length])>>(32-length)) + huffman.from[length]
		if next >= huffman.first[length] && i < huffman.from[length+1] {
			return huffman.order[i], length
		}
	}
	return 0, 64 + 1
}
