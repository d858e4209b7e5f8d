package http2

import "portico/proxy/wire"

const (
	firstChunk = 8 << 10 // a stream that sends little holds little
	nextChunk  = 32 << 10
)

// body holds what has come of a request's body and was not taken yet.
type body struct {
	chunks [][]byte // borrowed; the bytes begin at r in the first and end at w in the last
	r, w   int
	size   int
}

// put appends b.
func (q *body) put(b []byte, mem wire.Memory) {
	q.size += len(b)
	for len(b) > 0 {
		if len(q.chunks) == 0 || q.w == len(q.chunks[len(q.chunks)-1]) {
			size := nextChunk
			if len(q.chunks) == 0 {
				size = firstChunk
			}
			q.chunks = append(q.chunks, mem.Get(size))
			q.w = 0
		}
		n := copy(q.chunks[len(q.chunks)-1][q.w:], b)
		q.w += n
		b = b[n:]
	}
}

// take moves bytes to b.
func (q *body) take(b []byte, mem wire.Memory) (n int) {
	for len(b) > n && q.size > 0 {
		chunk := q.chunks[0]
		end := len(chunk)
		if len(q.chunks) == 1 {
			end = q.w
		}
		k := copy(b[n:], chunk[q.r:end])
		n += k
		q.r += k
		q.size -= k
		if q.r == end {
			mem.Put(chunk)
			q.chunks[0] = nil
			q.chunks = append(q.chunks[:0], q.chunks[1:]...)
			q.r = 0
		}
	}
	return n
}

// drop gives up all bytes and returns how many there were.
func (q *body) drop(mem wire.Memory) (n int) {
	for i, b := range q.chunks {
		mem.Put(b)
		q.chunks[i] = nil
	}
	n = q.size
	*q = body{chunks: q.chunks[:0]}
	return n
}
