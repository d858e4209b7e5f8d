package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// entry is what the builders below can put into an archive, good or bad.
type entry struct {
	name string
	body string
	mode fs.FileMode // type and permission bits; zip only
	tar  *tar.Header // tar only: Name and Size are filled in if empty
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		mode := e.mode
		if mode == 0 {
			mode = 0o644
		}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.tar
		if h == nil {
			h = &tar.Header{Mode: 0o644}
		}
		if h.Name == "" {
			h.Name = e.name
		}
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.body))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

// patch returns b with the bytes at the first (or last) place of old replaced.
func patch(t testing.TB, b []byte, old, with string, last bool) []byte {
	t.Helper()
	i := bytes.Index(b, []byte(old))
	if last {
		i = bytes.LastIndex(b, []byte(old))
	}
	if i < 0 || len(old) != len(with) {
		t.Fatalf("%q is not there, or %q has another length", old, with)
	}
	out := bytes.Clone(b)
	copy(out[i:], with)
	return out
}

// centralField returns b with a 16-bit field of the n-th central directory
// header changed, and in the local header too when local is not negative.
func centralField(t testing.TB, b []byte, at, local int, value uint16) []byte {
	t.Helper()
	out := bytes.Clone(b)
	i := bytes.LastIndex(out, []byte("PK\x01\x02"))
	if i < 0 {
		t.Fatal("no central directory")
	}
	binary.LittleEndian.PutUint16(out[i+at:], value)
	if local >= 0 {
		j := bytes.Index(out, []byte("PK\x03\x04"))
		binary.LittleEndian.PutUint16(out[j+local:], value)
	}
	return out
}

// overlapping is a zip whose two entries share one local file.
func overlapping(t testing.TB) []byte {
	t.Helper()
	b := zipOf(t, entry{name: "a.txt", body: "some content that is used twice"})
	i := bytes.Index(b, []byte("PK\x01\x02"))
	end := bytes.Index(b, []byte("PK\x05\x06"))
	second := bytes.Replace(b[i:end], []byte("a.txt"), []byte("b.txt"), 1)
	out := append(bytes.Clone(b[:end]), second...)
	tail := bytes.Clone(b[end:])
	binary.LittleEndian.PutUint16(tail[8:], 2)
	binary.LittleEndian.PutUint16(tail[10:], 2)
	binary.LittleEndian.PutUint32(tail[12:], uint32(end-i+len(second)))
	return append(out, tail...)
}

// zipStored is a zip with one uncompressed file and no data descriptor.
func zipStored(t testing.TB, name, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE([]byte(body)),
		CompressedSize64: uint64(len(body)), UncompressedSize64: uint64(len(body)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
