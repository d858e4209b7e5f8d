package isolation

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
)

// framing is how a body's end is told.
type framing uint8

const (
	none framing = iota
	byLength
	byChunks
	byClose
)

func (f framing) String() string {
	return [...]string{"none", "length", "chunks", "close"}[f]
}

// foreign is the fault that everything here is about.
type foreign struct {
	text string
	of   mark // whose head it is; 0: it does not say
}

func (f *foreign) Error() string { return f.text }

func foreignf(format string, args ...any) error { return &foreign{text: fmt.Sprintf(format, args...)} }

// body is a message's body on its way in. Each byte is compared with its owner's.
type body struct {
	r     *bufio.Reader
	kind  framing
	left  int64 // of the length or the chunk
	off   int64
	owner mark
	most  int64 // the owner sends no more than this
	whole bool
}

// take reads up to n bytes of the body's data, or to its end when n is negative.
func (b *body) take(n int64) error {
	for !b.whole && n != 0 {
		if err := b.begin(); err != nil || b.whole {
			return err
		}
		if _, err := b.r.Peek(1); err != nil {
			if b.kind == byClose && errors.Is(err, io.EOF) {
				b.whole = true
				return nil
			}
			return short(err)
		}
		k := int64(b.r.Buffered())
		if b.kind != byClose {
			k = min(k, b.left)
		}
		if n > 0 {
			k = min(k, n)
			n -= k
		}
		p, _ := b.r.Peek(int(k))
		if err := b.check(p); err != nil {
			return err
		}
		_, _ = b.r.Discard(int(k))
		b.left -= k
		if err := b.end(); err != nil {
			return err
		}
	}
	return nil
}

func (b *body) check(p []byte) error {
	if i := b.owner.differ(p, b.off); i >= 0 {
		return foreignf("byte %d of the body of the %s is not its own but of %s: %.200q", b.off+int64(i), b.owner.owner(), claim(p[i:]), p[i:])
	}
	if b.off += int64(len(p)); b.off > b.most {
		return foreignf("the %s has %d bytes, %d arrived", b.owner.owner(), b.most, b.off)
	}
	return nil
}

// begin reads what stands before data.
func (b *body) begin() error {
	switch {
	case b.kind == none, b.kind == byLength && b.left == 0:
		b.whole = true
	case b.kind == byChunks && b.left == 0:
		line, err := b.r.ReadString('\n')
		if err != nil {
			return short(err)
		}
		if b.left, err = strconv.ParseInt(strings.TrimSpace(line), 16, 63); err != nil {
			return foreignf("a chunk of the %s at %d begins with %.100q (%s)", b.owner.owner(), b.off, line, claim([]byte(line)))
		}
		if b.left == 0 {
			return b.trailers()
		}
	}
	return nil
}

// end reads what stands behind data.
func (b *body) end() error {
	if b.kind != byChunks || b.left > 0 {
		return nil
	}
	var crlf [2]byte
	if _, err := io.ReadFull(b.r, crlf[:]); err != nil {
		return short(err)
	}
	if string(crlf[:]) != "\r\n" {
		return foreignf("a chunk of the %s ends with %q at %d", b.owner.owner(), crlf, b.off)
	}
	return nil
}

// trailers reads what ends a body of chunks.
func (b *body) trailers() error {
	for {
		line, err := b.r.ReadString('\n')
		if err != nil {
			return short(err)
		}
		if line == "\r\n" {
			b.whole = true
			return nil
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if !strings.EqualFold(name, "X-End") || value != b.owner.String() {
			return foreignf("trailer %.200q of the %s", line, b.owner.owner())
		}
	}
}

// short makes an end within a message an error of its own.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendBody writes a body of n bytes.
func appendBody(out []byte, m mark, kind framing, n int64, trailer bool, r *rand.Rand) []byte {
	if kind != byChunks {
		at := len(out)
		out = append(out, make([]byte, n)...)
		m.fill(out[at:], 0)
		return out
	}
	for off := int64(0); off < n; {
		k := min(n-off, 1+r.Int64N(40_000))
		out = append(strconv.AppendInt(out, k, 16), "\r\n"...)
		at := len(out)
		out = append(out, make([]byte, k)...)
		m.fill(out[at:], off)
		out = append(out, "\r\n"...)
		off += k
	}
	out = append(out, "0\r\n"...)
	if trailer {
		out = append(append(append(out, "X-End: "...), m.String()...), "\r\n"...)
	}
	return append(out, "\r\n"...)
}
