package archive

import (
	"bytes"
	"io"
)

// Format is a kind of archive.
type Format string

// The formats. A .war or .jar is a Zip; see Info.War.
const (
	Zip     Format = "zip"
	Tar     Format = "tar"
	TarGzip Format = "tar.gz"
	TarZstd Format = "tar.zst"
)

// tarMagic is the place and the text by which a tar header of POSIX (ustar, pax)
// or GNU is known.
const tarMagicAt = 257

// Detect tells the format from the first bytes, or returns ErrUnknownFormat.
// An archive of zip without entries is known by its end record.
func Detect(src io.ReaderAt) (Format, error) {
	head := make([]byte, 512)
	n, err := src.ReadAt(head, 0)
	if err != nil && n == 0 && err != io.EOF {
		return "", err
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return TarGzip, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), skippable(head):
		return TarZstd, nil
	case len(head) == 512 && bytes.HasPrefix(head[tarMagicAt:], []byte("ustar")):
		return Tar, nil
	}
	return "", ErrUnknownFormat
}

// skippable reports whether head opens a skippable frame, with which some zstd
// tools begin. RFC 8878 section 3.1.2.
func skippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}
