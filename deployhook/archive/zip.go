package archive

import (
	"archive/zip"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// directoryBytes is how much of a zip may be read for one entry of its central
// directory. archive/zip reads the directory whole before the entries can be
// counted, so this is what bounds its memory.
const directoryBytes = 384

// The host systems whose external attributes hold a Unix mode. APPNOTE 4.4.2.
const (
	hostUnix  = 3
	hostMacOS = 19
)

// zip reads the archive by its central directory.
func (r *reader) zip(src io.ReaderAt, size int64) error {
	budget := &budgetReader{src: src, left: int64(r.limits.Entries)*directoryBytes + 1<<20}
	z, err := zip.NewReader(budget, size)
	switch {
	case errors.Is(err, errBudget):
		return tooLarge("", "has a directory for more than %d files and folders", r.limits.Entries)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // we name the entry ourselves
		return broken("", err)
	}
	budget.off = true
	if len(z.File) > r.limits.Entries {
		return tooLarge("", "holds %d files and folders, more than %d", len(z.File), r.limits.Entries)
	}
	if err := checkOverlaps(z.File); err != nil {
		return err
	}
	var packed int64
	r.packed = func() int64 { return packed }
	for _, f := range z.File {
		packed += int64(min(f.CompressedSize64, uint64(size)))
		if err := r.zipEntry(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) zipEntry(f *zip.File) error {
	mode, err := zipMode(f)
	if err != nil {
		return err
	}
	p, ok, err := r.entry(f.Name, mode.IsDir())
	if err != nil || !ok {
		return err
	}
	if mode.IsDir() {
		if f.UncompressedSize64 != 0 {
			return refuse(f.Name, "is a folder with content")
		}
		return nil
	}
	if f.UncompressedSize64 > 1<<62 {
		return tooLarge(f.Name, "claims %d bytes", f.UncompressedSize64)
	}
	rc, err := f.Open()
	if err != nil {
		return broken(f.Name, err)
	}
	defer rc.Close()
	sum := &summed{from: rc, want: f.CRC32, hash: crc32.NewIEEE()}
	return r.file(f.Name, File{Path: p, Exec: mode&0o111 != 0, Size: int64(f.UncompressedSize64)}, sum)
}

// zipMode checks what kind of thing an entry is.
func zipMode(f *zip.File) (fs.FileMode, error) {
	switch {
	case f.Flags&1 != 0 || f.Flags&(1<<6) != 0 || f.Flags&(1<<13) != 0:
		return 0, refuse(f.Name, "is encrypted")
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return 0, refuse(f.Name, "is packed with method %d: use deflate or store", f.Method)
	}
	mode := f.Mode()
	if host := f.CreatorVersion >> 8; host != hostUnix && host != hostMacOS {
		mode &= fs.ModeDir // FAT and NTFS know no executable bit
	} else if f.ExternalAttrs>>16&typeMask == 0 {
		// Written without a type: a file, or a folder by its name.
		mode &^= fs.ModeType
		if strings.HasSuffix(f.Name, "/") {
			mode |= fs.ModeDir
		}
	}
	return mode, checkMode(f.Name, mode)
}

// typeMask is S_IFMT: the bits of a Unix mode that say what kind of thing it is.
const typeMask = 0o170000

// checkMode refuses everything but plain files and folders.
func checkMode(name string, mode fs.FileMode) error {
	switch {
	case mode&fs.ModeSymlink != 0:
		return refuse(name, "is a symbolic link")
	case mode&(fs.ModeDevice|fs.ModeCharDevice) != 0:
		return refuse(name, "is a device")
	case mode&fs.ModeNamedPipe != 0:
		return refuse(name, "is a named pipe")
	case mode&fs.ModeSocket != 0:
		return refuse(name, "is a socket")
	case mode&fs.ModeSetuid != 0:
		return refuse(name, "is setuid")
	case mode&fs.ModeSetgid != 0 && !mode.IsDir():
		return refuse(name, "is setgid")
	case mode&fs.ModeSticky != 0 && !mode.IsDir():
		return refuse(name, "is sticky")
	case mode&fs.ModeIrregular != 0:
		return refuse(name, "is neither a file nor a folder")
	}
	return nil
}

// localHeader is the least that stands in front of an entry's data besides its
// name. APPNOTE 4.3.7.
const localHeader = 30

// checkOverlaps refuses entries whose data share bytes: the trick by which a
// few kilobytes unpack to petabytes, each entry below every limit.
// https://www.bamsoftware.com/hacks/zipbomb/
func checkOverlaps(files []*zip.File) error {
	type span struct {
		name       string
		start, end int64
	}
	spans := make([]span, 0, len(files))
	for _, f := range files {
		at, err := f.DataOffset()
		if err != nil {
			return broken(f.Name, err)
		}
		spans = append(spans, span{f.Name, at - localHeader - int64(len(f.Name)), at + int64(min(f.CompressedSize64, 1<<62))})
	}
	slices.SortFunc(spans, func(a, b span) int {
		if a.start != b.start {
			return int(min(max(a.start-b.start, -1), 1))
		}
		return int(min(max(a.end-b.end, -1), 1))
	})
	for i := 1; i < len(spans); i++ {
		if spans[i].start < spans[i-1].end {
			return refuse(spans[i].name, "shares its bytes with %q", spans[i-1].name)
		}
	}
	return nil
}

// summed compares the checksum at the end, also where archive/zip takes a zero
// for "not given".
type summed struct {
	from io.Reader
	want uint32
	hash hash.Hash32
}

// Read implements io.Reader.
func (s *summed) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && s.hash.Sum32() != s.want {
		return n, zip.ErrChecksum
	}
	return n, err
}

// budgetReader ends in errBudget when more than left bytes have been read,
// until it is switched off.
type budgetReader struct {
	src  io.ReaderAt
	left int64
	off  bool
}

var errBudget = errors.New("too much was read")

// ReadAt implements io.ReaderAt.
func (b *budgetReader) ReadAt(p []byte, at int64) (int, error) {
	if !b.off {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, errBudget
		}
	}
	return b.src.ReadAt(p, at)
}
