package exchange

import (
	"portico/proxy/http1"
	"portico/proxy/wire"
)

const (
	smallBuffer = 8 << 10  // a request head, a rewritten head
	bodyBuffer  = 32 << 10 // bytes of a body on their way
	chunkBuffer = 64 << 10 // bytes of a body encoded anew
	// Up to this many bytes of body are copied behind the head rather than given to a gathering write, whose extra cost is higher.
	copyMax = 4 << 10
	// A stream's body of unknown length is read behind what came before while there is as much room.
	bodyRoom = 1 << 10
	// Bodies with at least this much left are moved by the kernel where a driver can do so.
	spliceMin = 64 << 10
)

type bodyMode uint8

const (
	bodyNone bodyMode = iota
	bodyLength
	bodyChunked
	bodyClose
	bodyTunnel
)

// flow is one direction of an exchange: bytes read from one side, decoded, and what waits to be written to the other.
type flow struct {
	mem  wire.Memory
	in   []byte // borrowed; nil when nothing is buffered
	r, w int    // in[r:w] is unread
	base int    // in[:base] must stay: the request head
	scan int    // bytes behind r that hold no end of head

	out    []byte // borrowed; rendered bytes, of which the first o are written
	o      int
	direct int // bytes at in[r:] to write behind out as they stand

	mode   bodyMode
	frame  http1.Framing
	left   int64
	chunk  http1.Chunked
	done   bool // the message was decoded to its end
	eof    bool // its source has ended
	shut   bool // its end was passed on
	dirty  bool // buffered body bytes were overwritten: it cannot be sent again
	piped  int  // bytes in the driver's pipe
	bytes  int64
	header http1.Head // of trailers
	tail   []byte     // borrowed: trailers that go behind the body
	shared bool       // a driver's goroutine may still use the buffers: they go to the garbage collector, not to others
}

// pending reports whether bytes wait to be written.
func (f *flow) pending() bool { return f.o < len(f.out) || f.direct > 0 || f.piped > 0 }

// space returns room to read into.
func (f *flow) space(size int) []byte {
	if f.in == nil {
		f.in = f.mem.Get(size)
		f.r, f.w = 0, 0
	}
	if f.r == f.w {
		if f.w != f.base {
			f.dirty = true
		}
		f.r, f.w = f.base, f.base
	} else if f.w == len(f.in) && f.r > f.base {
		f.dirty = true
		f.w = f.base + copy(f.in[f.base:], f.in[f.r:f.w])
		f.r = f.base
	}
	return f.in[f.w:]
}

// bulky reports whether more of a body may come than a small buffer holds.
func (f *flow) bulky() bool {
	return f.mode == bodyLength && f.left > smallBuffer || f.mode == bodyChunked || f.mode == bodyClose
}

// grow moves unparsed bytes to a buffer of at least size bytes.
func (f *flow) grow(size int) {
	b := f.mem.Get(size)
	n := copy(b, f.in[f.r:f.w])
	f.put(f.in)
	f.in, f.r, f.w = b, 0, n
}

// begin borrows a buffer for rendered bytes.
func (f *flow) begin(size int) {
	if f.out == nil {
		f.out = f.mem.Get(size)[:0]
		f.o = 0
	}
}

// slices returns what to write next.
func (f *flow) slices() (head, body []byte) { return f.out[f.o:], f.in[f.r : f.r+f.direct] }

// wrote takes n bytes off what slices returned.
func (f *flow) wrote(n int) {
	k := min(n, len(f.out)-f.o)
	f.o += k
	n -= k
	f.direct -= n
	f.r += n
	if f.o == len(f.out) {
		f.freeOut()
	}
	if f.r == f.w && f.base == 0 {
		f.freeIn()
	}
}

func (f *flow) freeOut() {
	if f.out != nil {
		f.put(f.out[:cap(f.out)])
		f.out, f.o = nil, 0
	}
}

func (f *flow) freeIn() {
	if f.in != nil {
		f.put(f.in)
		f.in = nil
	}
	f.r, f.w, f.base, f.scan, f.direct = 0, 0, 0, 0, 0
}

// keepTail keeps the trailers of a body that is not sent on to its end yet.
func (f *flow) keepTail(section []byte) {
	f.freeTail()
	f.tail = append(f.mem.Get(len(section))[:0], section...)
}

func (f *flow) freeTail() {
	if f.tail != nil {
		f.put(f.tail[:cap(f.tail)])
		f.tail = nil
	}
}

func (f *flow) put(b []byte) {
	if !f.shared {
		f.mem.Put(b)
	}
}

// reset makes the flow ready for another message; unread bytes stay.
func (f *flow) reset() {
	f.mode, f.frame, f.left, f.chunk = bodyNone, http1.FrameNone, 0, http1.Chunked{}
	f.done, f.eof, f.shut, f.dirty = false, false, false, false
	f.bytes, f.scan, f.direct, f.piped = 0, 0, 0, 0
	f.freeTail()
}

// start sets how the body is read and how it is written.
func (f *flow) start(m bodyMode, length int64, frame http1.Framing) {
	f.mode, f.left, f.frame = m, length, frame
	f.done = m == bodyNone || m == bodyLength && length == 0
}

// advance turns buffered input into output. It does nothing while output waits, which is the back-pressure.
func (f *flow) advance(lim *http1.Limits) http1.Fault {
	if f.done || f.direct > 0 || f.piped > 0 || f.frame >= http1.FrameChunked && !f.fits() {
		return http1.NoFault
	}
	switch f.mode {
	case bodyLength:
		n := int(min(int64(f.w-f.r), f.left))
		f.left -= int64(n)
		f.done = f.left == 0
		f.pass(n)
	case bodyChunked:
		return f.rechunk(lim)
	case bodyClose:
		return f.untilClose(lim)
	case bodyTunnel:
		f.pass(f.w - f.r)
		f.done = f.eof && f.direct == 0 && f.r == f.w
	case bodyNone:
	}
	return http1.NoFault
}

// fits reports whether what is buffered can be encoded behind what waits to be written.
func (f *flow) fits() bool {
	return len(f.out) == f.o || cap(f.out)-len(f.out) >= f.w-f.r+len(f.tail)+256
}

// pass marks n bytes to be written as they stand; a few are copied behind a head that is still to be written.
func (f *flow) pass(n int) {
	f.bytes += int64(n)
	if f.o < len(f.out) && n <= copyMax && len(f.out)+n <= cap(f.out) {
		f.out = append(f.out, f.in[f.r:f.r+n]...)
		f.r += n
		return
	}
	f.direct = n
}

func (f *flow) untilClose(lim *http1.Limits) http1.Fault {
	n := f.w - f.r
	if f.frame != http1.FrameChunked {
		f.pass(n)
	} else if n > 0 {
		f.begin(chunkBuffer)
		f.appendChunk(f.in[f.r:f.w])
		f.r = f.w
		f.bytes += int64(n)
	}
	if !f.eof {
		return http1.NoFault
	}
	f.done = true
	switch {
	case f.frame == http1.FrameChunked:
	case f.tail != nil:
		return f.siftTail(lim)
	default:
		return http1.NoFault
	}
	f.begin(chunkBuffer)
	if len(f.tail) == 0 {
		f.out = append(f.out, "0\r\n\r\n"...)
		return http1.NoFault
	}
	return f.finishChunks(f.tail, lim)
}

// rechunk decodes and encodes anew: sizes in one spelling, no extensions, only the trailers that may travel.
func (f *flow) rechunk(lim *http1.Limits) http1.Fault {
	for f.r < f.w && !f.chunk.Done() {
		skip, n, trailer, fault := f.chunk.Next(f.in[f.r:f.w], lim)
		if fault != http1.NoFault {
			return fault
		}
		f.bytes += int64(n)
		if n > 0 || trailer != nil {
			f.begin(chunkBuffer)
		}
		if n > 0 {
			f.appendChunk(f.in[f.r+skip : f.r+skip+n])
		}
		if trailer != nil {
			if fault := f.finishChunks(trailer, lim); fault != http1.NoFault {
				return fault
			}
		}
		f.r += skip + n
		if skip+n == 0 {
			break
		}
	}
	f.done = f.chunk.Done()
	return http1.NoFault
}

func (f *flow) finishChunks(trailer []byte, lim *http1.Limits) http1.Fault {
	switch f.frame {
	case http1.FrameChunked:
	case http1.FrameStream:
		return f.holdTrailers(trailer, lim)
	case http1.FrameNone, http1.FrameLength, http1.FrameClose:
		return http1.NoFault
	}
	var fault http1.Fault
	f.out = append(f.out, "0\r\n"...)
	f.out, fault = http1.AppendTrailers(f.out, &f.header, trailer, lim)
	return fault
}

// holdTrailers keeps those that may travel until the body was written.
func (f *flow) holdTrailers(section []byte, lim *http1.Limits) http1.Fault {
	b := f.mem.Get(len(section) + lim.Fields) // a field without a space behind its colon gets one
	kept, fault := http1.AppendTrailers(b[:0], &f.header, section, lim)
	if fault != http1.NoFault || len(kept) == len("\r\n") {
		f.put(b)
		return fault
	}
	f.tail = kept
	return http1.NoFault
}

// siftTail keeps of the trailers that have come those that may travel.
func (f *flow) siftTail(lim *http1.Limits) http1.Fault {
	section := f.tail
	f.tail = nil
	fault := f.holdTrailers(section, lim)
	f.put(section[:cap(section)])
	return fault
}

func (f *flow) appendChunk(data []byte) {
	if f.frame != http1.FrameChunked {
		f.out = append(f.out, data...)
		return
	}
	f.out = http1.AppendChunk(f.out, data)
}
