package hpack

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// blockMost is how long a block may be that is decoded here.
const blockMost = 64 << 10

// lender is a Memory that counts what it has lent.
type lender struct{ lent int }

func (m *lender) Get(size int) []byte {
	m.lent += size
	return make([]byte, size)
}

func (m *lender) Put(b []byte) { m.lent -= cap(b) }

var (
	// asked is what a asked says in a request.
	asked = [][2]string{
		{":method", "GET"}, {":authority", "shop.test"}, {":scheme", "https"}, {":path", "/"}, {"sec-ch-ua-mobile", "?0"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
		{"accept-encoding", "gzip, deflate, br, zstd"}, {"accept-language", "en-US,en;q=0.9"},
		{"cookie", "session=0123456789abcdef0123456789abcdef"}, {"cookie", "theme=dark"}, {"priority", "u=0, i"},
	}
	// answered is what an application says in an answer.
	answered = [][2]string{
		{"Server", "Apache"}, {"Content-Type", "text/html; charset=utf-8"}, {"Content-Length", "5"}, {"Cache-Control", "no-cache, private"},
		{"Vary", "Accept-Encoding"}, {"Date", "Mon, 30 Nov 2026 13:00:00 GMT"}, {"Strict-Transport-Security", "max-age=31536000"},
		{"Set-Cookie", "session=0123456789abcdef0123456789abcdef; Path=/; HttpOnly"},
	}
)

// unpack decodes a block with ours.
func unpack(d *Decoder, block []byte, mem *lender) (fields []hpack.HeaderField, ok bool) {
	rest, ok := d.Begin(block, mem)
	for ok && len(rest) > 0 {
		var f Field
		if rest, ok = d.Next(rest, &f); ok {
			fields = append(fields, hpack.HeaderField{Name: string(f.Name), Value: string(f.Value)})
		}
	}
	d.End(mem)
	return fields, ok
}

// FuzzDecode: what x/net's decoder refuses, ours refuses; what both take, they read alike, block after block.
func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := range 4 {
		for _, field := range asked {
			_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: i == 3})
		}
		f.Add(b.Bytes(), uint8(i*40))
		enc.SetMaxDynamicTableSize(uint32(i * 100))
	}
	f.Add([]byte("\x3f\xe1\x1f\x20\x40\x01a\x01b\xbe"), uint8(2))
	f.Add([]byte("\x40\x82\x1f\xff\x01b\x00\xff\xff\xff\xff\x7f"), uint8(0))
	f.Add([]byte("\x7f\x80\x80\x80\x80\x00\x01b"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		if len(data) > blockMost {
			return
		}
		var mem lender
		var ours Decoder
		ours.Reset()
		theirs := hpack.NewDecoder(TableMost, nil)
		for len(data) > 0 {
			n := len(data)
			if cut > 0 {
				n = min(n, int(cut))
			}
			block := data[:n]
			data = data[n:]
			got, ok := unpack(&ours, block, &mem)
			want, err := theirs.DecodeFull(block)
			if ok && err != nil && !twoSizes(block) {
				t.Fatalf("%x: ours takes it, x/net says %v", block, err)
			}
			if !ok || err != nil {
				break
			}
			for i := range want {
				want[i].Sensitive = false
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%x: %q, want %q", block, got, want)
			}
			if n, most := len(ours.table.buf), ours.table.size; n > 2*TableMost || most > TableMost {
				t.Fatalf("the table holds %d bytes and counts %d", n, most)
			}
		}
		if mem.lent != 0 {
			t.Fatalf("%d bytes are still lent", mem.lent)
		}
	})
}

// twoSizes reports whether a block begins with two changes of the table's size, which RFC 7541, 4.2 allows and x/net does not always.
func twoSizes(b []byte) bool {
	if len(b) == 0 || b[0]&0xe0 != 0x20 {
		return false
	}
	_, b, ok := readInt(b, 5)
	return ok && len(b) > 0 && b[0]&0xe0 == 0x20
}

// TestDecoderTakesWhatOthersEncode: blocks of x/net's encoder, its table's size changing, are read to the last field.
func TestDecoderTakesWhatOthersEncode(t *testing.T) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var mem lender
	var ours Decoder
	ours.Reset()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for range 2000 {
		b.Reset()
		if rnd.IntN(20) == 0 {
			enc.SetMaxDynamicTableSize(uint32(rnd.IntN(TableMost + 1)))
		}
		var want []hpack.HeaderField
		for range rnd.IntN(20) {
			f := hpack.HeaderField{Name: randomText(rnd, 12), Value: randomText(rnd, 1<<rnd.IntN(13))}
			if rnd.IntN(3) > 0 {
				e := asked[rnd.IntN(len(asked))]
				f.Name, f.Value = e[0], e[1]
			}
			want = append(want, f)
			_ = enc.WriteField(f)
		}
		if got, ok := unpack(&ours, b.Bytes(), &mem); !ok || !slices.Equal(got, want) {
			t.Fatalf("%v %q, want %q", ok, got, want)
		}
	}
}

func randomText(rnd *rand.Rand, most int) string {
	b := make([]byte, rnd.IntN(most+1))
	for i := range b {
		if b[i] = byte(rnd.IntN(256)); rnd.IntN(10) > 0 {
			b[i] = 'a' + b[i]%26
		}
	}
	return string(b)
}

// TestHuffman: every string comes back, and what is cut, padded wrongly or ends with EOS is refused.
func TestHuffman(t *testing.T) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 5000 {
		want := randomText(rnd, 60)
		coded := hpack.AppendHuffmanString(nil, want)
		got, ok := appendHuffman(nil, coded)
		if !ok || string(got) != want {
			t.Fatalf("%x: %q, want %q", coded, got, want)
		}
		if n := len(coded); n > 0 {
			coded[rnd.IntN(n)] ^= byte(1 << rnd.IntN(8))
			got, ok = appendHuffman(nil, coded)
			text, err := hpack.HuffmanDecodeToString(coded)
			if ok != (err == nil) || ok && string(got) != text {
				t.Fatalf("%x: %q %v, x/net says %q %v", coded, got, ok, text, err)
			}
		}
	}
	for _, bad := range []string{"\xff", "\xff\xff\xff\xff", "\x1f\xff", "\x1e"} {
		if got, ok := appendHuffman(nil, []byte(bad)); ok {
			t.Errorf("%x is %q", bad, got)
		}
	}
}

// FuzzEncode: x/net's decoder reads what our encoder writes, while the client changes its mind about the table.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("server\nApache\ndate\nnow\nSet-Cookie\na=b\nserver\nApache\nserver\nApache"), uint64(1))
	f.Add([]byte("x\n1\nx\n2\nx\n1\nx\n2\nx\n1\nx\n2"), uint64(7))
	f.Add([]byte(strings.Repeat("content-type\ntext/html\ncache-control\nno-cache\n", 30)), uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		parts := bytes.Split(data, []byte("\n"))
		rnd := rand.New(rand.NewPCG(seed, 0))
		var enc Encoder
		enc.Reset()
		dec := hpack.NewDecoder(TableMost, nil)
		for len(parts) > 1 {
			if rnd.IntN(4) == 0 {
				size := rnd.IntN(5000)
				if rnd.IntN(3) == 0 {
					size = 0
				}
				enc.Limit(size)
				dec.SetAllowedMaxDynamicTableSize(uint32(min(size, TableMost)))
			}
			block := enc.Block(nil)
			var want []hpack.HeaderField
			for range 1 + rnd.IntN(8) {
				if len(parts) < 2 {
					break
				}
				name, value := parts[0], parts[1]
				parts = parts[2:]
				_, secret, _ := staticName(name)
				want = append(want, hpack.HeaderField{Name: string(appendLower(nil, name)), Value: string(value), Sensitive: secret})
				block = enc.Field(block, name, value)
			}
			if twoSizes(block) {
				return // x/net's decoder takes no two
			}
			got, err := dec.DecodeFull(block)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%x: %v %q, want %q", block, err, got, want)
			}
		}
	})
}

// TestEncoderRepeats: fields that every answer has take a byte each from the third answer on; secrets never do.
func TestEncoderRepeats(t *testing.T) {
	var enc Encoder
	enc.Reset()
	var sizes []int
	for range 4 {
		b := enc.Status(enc.Block(nil), 200)
		for _, f := range answered {
			b = enc.Field(b, []byte(f[0]), []byte(f[1]))
		}
		sizes = append(sizes, len(b))
	}
	if sizes[2] != sizes[3] || sizes[3] > 110 || sizes[0] < 180 {
		t.Errorf("%v bytes: one for each field but Date and Set-Cookie is enough", sizes)
	}
	for range 3 {
		if b := enc.Field(nil, []byte("Set-Cookie"), []byte("a=b")); b[0]&0xf0 != 0x10 {
			t.Errorf("a cookie is not marked as never indexed: %x", b)
		}
		if b := enc.Field(nil, []byte("X-CSRF-Token"), []byte("abc")); b[0]&0xf0 != 0x10 {
			t.Errorf("a token is not marked as never indexed: %x", b)
		}
	}
}
