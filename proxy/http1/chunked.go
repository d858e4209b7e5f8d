package http1

// Chunked decodes a chunked body (RFC 9112, 7.1) strictly: sizes are 1 to 15 hexadecimal digits, every line ends in CRLF, extensions
// are dropped and bounded, trailers are checked like header fields. White space behind a size is passed over: the grammar has it before an
// extension, and some servers pad their sizes with it.
type Chunked struct {
	state  chunkState
	left   int64 // data bytes left of the current chunk
	digits int
	extra  int // bytes spent on lines rather than data since the body began, less what the data allowed
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkSpace
	chunkExt
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkDone
)

// Done reports whether the body has ended.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// Next consumes input from in. It returns how many bytes of framing to skip and how many bytes of data follow them; both zero when
// more input is needed. The caller takes skip+data bytes away before it calls again. At the end of the body it returns the trailer
// section, with its empty line, which aliases in and is part of skip.
func (c *Chunked) Next(in []byte, lim *Limits) (skip, data int, trailer []byte, fault Fault) {
	i := 0
	for {
		switch c.state {
		case chunkData:
			n := int(min(c.left, int64(len(in)-i)))
			c.left -= int64(n)
			if c.left == 0 {
				c.state = chunkDataCR
			}
			return i, n, nil, NoFault
		case chunkTrailer:
			n, fault := c.trailerEnd(in[i:], lim)
			if fault != NoFault || n == 0 {
				return i, 0, nil, fault
			}
			c.state = chunkDone
			return i + n, 0, in[i : i+n], NoFault
		case chunkDone:
			return i, 0, nil, NoFault
		case chunkSize, chunkSpace, chunkExt, chunkSizeLF, chunkDataCR, chunkDataLF:
			if i == len(in) {
				return i, 0, nil, NoFault
			}
			if fault := c.framing(in[i], lim); fault != NoFault {
				return i, 0, nil, fault
			}
			i++
		}
	}
}

// framing takes one byte that is not data.
func (c *Chunked) framing(b byte, lim *Limits) Fault {
	switch c.state {
	case chunkDataCR:
		if b != '\r' {
			return FaultChunk
		}
		c.state = chunkDataLF
		return NoFault
	case chunkDataLF:
		if b != '\n' {
			return FaultChunk
		}
		c.state = chunkSize
		return NoFault
	case chunkSizeLF:
		if b != '\n' {
			return FaultChunk
		}
		if c.left == 0 {
			c.state = chunkTrailer
			return NoFault
		}
		c.digits = 0
		c.state = chunkData
		c.extra = int(max(0, int64(c.extra)-16-2*min(c.left, 1<<20))) // a chunk pays for a line in proportion
		return NoFault
	case chunkSize:
		if charClass[b]&isHex != 0 {
			if c.digits++; c.digits > 15 {
				return FaultChunk
			}
			c.left = c.left<<4 | int64(hexValue(b))
			return NoFault
		}
		if c.digits == 0 {
			return FaultChunk
		}
	case chunkSpace, chunkExt, chunkData, chunkTrailer, chunkDone:
	}
	return c.extension(b, lim)
}

// extension takes a byte behind a chunk's size: CR ends the line, a semicolon starts an extension, before either may stand white space.
func (c *Chunked) extension(b byte, lim *Limits) Fault {
	if b == '\r' {
		c.state = chunkSizeLF
		return NoFault
	}
	if c.state != chunkExt {
		switch b {
		case ';':
			c.state = chunkExt
		case ' ', '\t':
			c.state = chunkSpace
		default:
			return FaultChunk
		}
	}
	if b < 0x20 && b != '\t' || b == 0x7f {
		return FaultChunk
	}
	if c.extra++; c.extra > lim.ChunkExtra {
		return FaultChunkExtra
	}
	return NoFault
}

// AppendChunk appends data, of which there is some, as one chunk.
func AppendChunk(dst, data []byte) []byte {
	dst = appendHex(dst, int64(len(data)))
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// ChunkFault looks for a fault in as much of a chunked body as is here.
func ChunkFault(in []byte, lim *Limits) Fault {
	var c Chunked
	for len(in) > 0 && !c.Done() {
		skip, n, _, fault := c.Next(in, lim)
		if fault != NoFault || skip+n == 0 {
			return fault
		}
		in = in[skip+n:]
	}
	return NoFault
}

// trailerEnd returns the length of the trailer section with its empty line, zero while it is incomplete.
func (c *Chunked) trailerEnd(in []byte, lim *Limits) (int, Fault) {
	if len(in) >= 1 && in[0] == '\r' {
		if len(in) == 1 {
			return 0, NoFault
		}
		if in[1] != '\n' {
			return 0, FaultTrailers
		}
		return 2, NoFault
	}
	end, _, fault := ScanHead(in, 0)
	if fault != NoFault {
		return 0, fault
	}
	if end > lim.Trailers || end == 0 && len(in) > lim.Trailers {
		return 0, FaultTrailers
	}
	return end, NoFault
}

func hexValue(b byte) byte {
	switch {
	case b <= '9':
		return b - '0'
	case b <= 'F':
		return b - 'A' + 10
	}
	return b - 'a' + 10
}

// AppendTrailers appends the trailer fields that may travel, and the empty line. Framing, routing and everything that a proxy or a
// server reads before the body must not come after it (RFC 9110, 6.5.1).
func AppendTrailers(dst []byte, h *Head, section []byte, lim *Limits) ([]byte, Fault) {
	h.reset(section)
	if len(section) > 2 {
		if _, f := h.parseFields(0, lim.Fields); f != NoFault {
			return dst, FaultTrailers
		}
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Kind == KindHost || f.Kind == KindContentLength || f.Kind == KindTransferEncoding:
			return dst, FaultTrailers
		case f.Kind == KindOther && !forbiddenTrailer(h.Name(f)):
			dst = appendField(dst, h, f)
		}
	}
	return append(dst, "\r\n"...), NoFault
}

func forbiddenTrailer(name []byte) bool {
	if foldPrefix(name, "sec-") || foldPrefix(name, "access-control-") {
		return true
	}
	switch len(name) {
	case 3:
		return FoldsTo(name, "age")
	case 4:
		return FoldsTo(name, "date") || FoldsTo(name, "vary")
	case 5:
		return FoldsTo(name, "range")
	case 7:
		return FoldsTo(name, "expires")
	case 8:
		return FoldsTo(name, "location") || FoldsTo(name, "if-match") || FoldsTo(name, "if-range")
	case 12:
		return FoldsTo(name, "content-type")
	case 13:
		return FoldsTo(name, "cache-control") || FoldsTo(name, "content-range") || FoldsTo(name, "if-none-match")
	case 16:
		return FoldsTo(name, "content-encoding") || FoldsTo(name, "www-authenticate")
	}
	return false
}
