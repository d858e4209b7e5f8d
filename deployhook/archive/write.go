package archive

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// epoch is the time of every packed file, so that the same folder gives the
// same archive: the first that zip can hold.
func epoch() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }

// Write packs the folder to w. The same files give the same bytes. progress, if
// not nil, is told the unpacked bytes done so far, up to f.Size.
//
// A file that changes its length between OpenFolder and Write is an error,
// because half a change is worse than none.
func (f *Folder) Write(ctx context.Context, w io.Writer, format Format, progress func(done int64)) error {
	pack, finish, err := packer(w, format)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(f.Root)
	if err != nil {
		return fmt.Errorf("pack folder: %w", err)
	}
	defer root.Close()
	var done int64
	buf := make([]byte, 64<<10)
	for _, file := range f.Files {
		out, err := pack(file)
		if err != nil {
			return fmt.Errorf("pack %s: %w", file.Path, err)
		}
		err = f.copy(ctx, out, root, file, buf, func(n int64) {
			if done += n; progress != nil {
				progress(done)
			}
		})
		if err != nil {
			return fmt.Errorf("pack %s: %w", file.Path, err)
		}
	}
	if err := finish(); err != nil {
		return fmt.Errorf("pack folder: %w", err)
	}
	return nil
}

// copy writes one file, which os.Root keeps inside the folder even if it has
// become a link since.
func (f *Folder) copy(ctx context.Context, out io.Writer, root *os.Root, file File, buf []byte, count func(int64)) error {
	src, err := root.Open(filepath.FromSlash(file.Path))
	if err != nil {
		return err
	}
	defer src.Close()
	var n int64
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		k, err := src.Read(buf)
		if n += int64(k); n > file.Size {
			return errors.New("it grew while it was read: try again when nothing writes to the folder")
		}
		if _, err := out.Write(buf[:k]); err != nil {
			return err
		}
		count(int64(k))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if n < file.Size {
		return errors.New("it shrank while it was read: try again when nothing writes to the folder")
	}
	return nil
}

// packer returns what begins a file and what ends the archive.
func packer(w io.Writer, format Format) (begin func(File) (io.Writer, error), finish func() error, err error) {
	switch format {
	case Zip:
		z := zip.NewWriter(w)
		return func(f File) (io.Writer, error) {
			h := &zip.FileHeader{Name: f.Path, Method: zip.Deflate, Modified: epoch()}
			h.SetMode(mode(f))
			return z.CreateHeader(h)
		}, z.Close, nil
	case Tar:
		return packTar(w, nil)
	case TarGzip:
		return packTar(w, gzip.NewWriter(w))
	case TarZstd:
		// One goroutine, because the cut into blocks must not depend on timing.
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return packTar(w, z)
	}
	return nil, nil, fmt.Errorf("pack folder: %w %q", ErrUnknownFormat, format)
}

func packTar(w io.Writer, compressed io.WriteCloser) (func(File) (io.Writer, error), func() error, error) {
	if compressed != nil {
		w = compressed
	}
	t := tar.NewWriter(w)
	begin := func(f File) (io.Writer, error) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Size: f.Size, Mode: int64(mode(f)), ModTime: epoch(), Format: tar.FormatPAX}
		return t, t.WriteHeader(h)
	}
	finish := func() error {
		err := t.Close()
		if compressed != nil {
			err = errors.Join(err, compressed.Close())
		}
		return err
	}
	return begin, finish, nil
}

func mode(f File) os.FileMode {
	if f.Exec {
		return 0o755
	}
	return 0o644
}
