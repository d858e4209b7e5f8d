package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxRecords bounds the bytes of one entry's pax records: a path, a few
	// times and some extended attributes.
	maxRecords = 64 << 10
	// maxPadding bounds what may follow the end of the archive: tar pads to
	// its blocking factor, 10 KiB by default.
	maxPadding = 1 << 20
	// zstdWindow is the largest window that a zstd frame may ask for: that of
	// zstd --long=27, which is 128 MiB.
	zstdWindow = 128 << 20
)

// tar reads the archive as a stream.
func (r *reader) tar(format Format, src io.Reader) error {
	packed := &countReader{from: src}
	r.packed = func() int64 { return packed.n }
	plain, stop, err := decompress(format, packed)
	if err != nil {
		return broken("", err)
	}
	defer stop()
	stream := &countReader{from: &bounded{r: r, from: plain}}
	t := tar.NewReader(stream)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return r.tarEnd(stream)
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // we name the entry ourselves
			return broken("", err)
		}
		if err := r.tarEntry(h, t); err != nil {
			return err
		}
	}
}

// decompress puts the decoder of a format in front of src.
func decompress(format Format, src io.Reader) (io.Reader, func(), error) {
	switch format {
	case TarGzip:
		z, err := gzip.NewReader(src)
		return z, func() {}, err
	case TarZstd:
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return src, func() {}, nil
}

func (r *reader) tarEntry(h *tar.Header, content io.Reader) error {
	if err := checkRecords(h); err != nil {
		return err
	}
	folder := false
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		folder = true
	case tar.TypeXGlobalHeader:
		return r.tarGlobal(h)
	case tar.TypeLink:
		return refuse(h.Name, "is a hard link to %q", h.Linkname)
	case tar.TypeSymlink:
		return refuse(h.Name, "is a symbolic link to %q", h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		return refuse(h.Name, "is a device")
	case tar.TypeFifo:
		return refuse(h.Name, "is a named pipe")
	case tar.TypeGNUSparse:
		return refuse(h.Name, "is a sparse file: pack it without --sparse")
	default:
		return refuse(h.Name, "is of the unknown type %q", h.Typeflag)
	}
	if err := checkMode(h.Name, h.FileInfo().Mode()); err != nil {
		return err
	}
	p, ok, err := r.entry(h.Name, folder)
	if err != nil || !ok || folder {
		return err
	}
	return r.file(h.Name, File{Path: p, Exec: h.Mode&0o111 != 0, Size: h.Size}, content)
}

// tarGlobal takes the global header that "git archive" writes, which holds a
// comment, and refuses one that would change the entries behind it.
func (r *reader) tarGlobal(h *tar.Header) error {
	if r.entries++; r.entries > r.limits.Entries {
		return tooLarge(h.Name, "is one too many: an archive may hold %d files and folders", r.limits.Entries)
	}
	for key := range h.PAXRecords {
		if key != "comment" {
			return refuse(h.Name, "sets %q for all entries behind it", key)
		}
	}
	return nil
}

// checkRecords refuses huge and sparse pax headers.
func checkRecords(h *tar.Header) error {
	n := 0
	for key, value := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return refuse(h.Name, "is a sparse file: pack it without --sparse")
		}
		n += len(key) + len(value)
	}
	if n > maxRecords {
		return refuse(h.Name, "has %d bytes of extended header, more than %d", n, maxRecords)
	}
	return nil
}

// tarEnd proves that the archive ended by its two zero blocks and not by a cut,
// and reads to the end of the stream, where gzip and zstd keep their checksum.
func (r *reader) tarEnd(stream *countReader) error {
	if stream.ended {
		return broken("", io.ErrUnexpectedEOF)
	}
	buf := make([]byte, 32<<10)
	for padding := 0; ; {
		n, err := stream.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return refuse("", "goes on after its end")
			}
		}
		if padding += n; padding > maxPadding {
			return refuse("", "has more than %d bytes of padding", maxPadding)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken("", err)
		}
	}
}

// countReader counts, and remembers whether the end was reached. It never
// returns bytes together with an error.
type countReader struct {
	from  io.Reader
	n     int64
	ended bool
	err   error
}

// Read implements io.Reader.
func (c *countReader) Read(p []byte) (int, error) {
	if c.err == nil {
		var n int
		n, c.err = c.from.Read(p)
		c.n += int64(n)
		if n > 0 || c.err == nil {
			return n, nil
		}
	}
	c.ended = true
	return 0, c.err
}

// bounded ends a stream that unpacks to more than an archive within its limits
// can: headers and padding count here, so that empty entries are no way around.
type bounded struct {
	r    *reader
	from io.Reader
	n    int64
}

// headerBytes is what one entry may take beside its content: a header and a pax
// header with its records, padded.
const headerBytes = 4 << 10

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.n += int64(n)
	l := b.r.limits
	if b.n > l.Total+int64(l.Entries)*headerBytes+maxPadding {
		return 0, tooLarge("", "unpacks to more than %d bytes", l.Total)
	}
	return n, err
}
