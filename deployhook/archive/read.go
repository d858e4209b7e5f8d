package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// File is one file of an archive.
type File struct {
	Path string
	Exec bool  // somebody may execute it
	Size int64 // bytes; when reading a stream, what the header claims and the content then must have
}

// Info is what Read learned about an archive.
type Info struct {
	Format Format
	Files  int
	Size   int64  // bytes of all files
	Top    string // the one folder that holds everything, empty when there is none
	War    bool   // a zip with WEB-INF at its root
}

// Read checks the archive of size bytes in src and hands every file to visit,
// in the archive's order, with a reader that ends in an error unless the content
// is whole and its checksum right. visit must read to the end. Folders are
// checked and not handed out.
//
// A refusal is a *RefusedError. It may come after visit has seen files, so
// nothing that visit made may be used before Read has returned nil. An error of
// visit itself ends Read and is returned as it is.
func Read(ctx context.Context, src io.ReaderAt, size int64, limits Limits, visit func(File, io.Reader) error) (Info, error) {
	format, err := Detect(src)
	if errors.Is(err, ErrUnknownFormat) {
		return Info{}, &RefusedError{Reason: "is not a zip, war, tar, tar.gz or tar.zst", Err: err}
	}
	if err != nil {
		return Info{}, fmt.Errorf("read archive: %w", err)
	}
	r := &reader{ctx: ctx, limits: limits.WithDefaults(), visit: visit, info: Info{Format: format}}
	if format == Zip {
		err = r.zip(src, size)
	} else {
		err = r.tar(format, io.NewSectionReader(src, 0, size))
	}
	if err != nil {
		return Info{}, err
	}
	if r.info.Files == 0 {
		return Info{}, refuse("", "holds no files")
	}
	if r.tops > 1 {
		r.info.Top = ""
	}
	return r.info, nil
}

// reader is one call of Read.
type reader struct {
	ctx     context.Context
	limits  Limits
	visit   func(File, io.Reader) error
	info    Info
	names   Names
	entries int
	tops    int          // 0: nothing yet, 1: everything lies in info.Top, 2: not so
	packed  func() int64 // bytes of the archive used so far, for the ratio
}

// entry counts an entry and checks its name; it returns the clean path, and
// whether there is anything to do with it.
func (r *reader) entry(raw string, folder bool) (string, bool, error) {
	if err := r.ctx.Err(); err != nil {
		return "", false, fmt.Errorf("read archive: %w", err)
	}
	if r.entries++; r.entries > r.limits.Entries {
		return "", false, tooLarge(raw, "is one too many: an archive may hold %d files and folders", r.limits.Entries)
	}
	// tar writes "./" in front of everything when it packs ".".
	p := strings.TrimPrefix(raw, "./")
	if folder {
		p = strings.TrimSuffix(p, "/")
		if p == "" || p == "." {
			return "", false, nil
		}
	}
	if err := r.limits.CheckPath(p); err != nil {
		return "", false, refuse(raw, "%v", err)
	}
	add := r.names.AddFile
	if folder {
		add = r.names.AddFolder
	}
	if err := add(p); err != nil {
		return "", false, refuse(raw, "%v", err)
	}
	r.noteTop(p, folder)
	return p, true, nil
}

// noteTop keeps track of whether one folder holds everything.
func (r *reader) noteTop(p string, folder bool) {
	top, _, inside := strings.Cut(p, "/")
	switch {
	case !inside && !folder, r.tops == 1 && top != r.info.Top:
		r.tops = 2
	case r.tops == 0:
		r.tops, r.info.Top = 1, top
	}
	if r.info.Format == Zip && top == "WEB-INF" {
		r.info.War = true
	}
}

// file hands one file to visit and counts its content.
func (r *reader) file(raw string, f File, content io.Reader) error {
	if f.Size < 0 {
		return refuse(raw, "has a negative size")
	}
	if f.Size > r.limits.File {
		return tooLarge(raw, "has %d bytes unpacked, more than %d", f.Size, r.limits.File)
	}
	if r.info.Size+f.Size > r.limits.Total {
		return tooLarge(raw, "brings the archive to more than %d bytes unpacked", r.limits.Total)
	}
	in := &body{r: r, raw: raw, from: content, left: f.Size}
	if err := r.visit(f, in); err != nil {
		if in.err != nil && !errors.Is(in.err, io.EOF) {
			return in.err // the archive's own fault, whatever visit made of it
		}
		return err
	}
	if !in.done {
		// Read the rest, because the checksum is behind it.
		if _, err := io.Copy(io.Discard, in); err != nil {
			return err
		}
	}
	r.info.Files++
	return nil
}

// body reads one file, no byte more or less than its header said, and
// watches the ratio.
type body struct {
	r    *reader
	raw  string
	from io.Reader
	left int64
	done bool
	err  error // sticky
}

// Read implements io.Reader.
func (c *body) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.read(p)
	c.err = err
	return n, err
}

func (c *body) read(p []byte) (int, error) {
	if err := c.r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("read archive: %w", err)
	}
	n, err := c.from.Read(p)
	if int64(n) > c.left {
		return 0, refuse(c.raw, "is longer than its header says")
	}
	c.left -= int64(n)
	c.r.info.Size += int64(n)
	if total := c.r.info.Size; total > ratioFree && total > c.r.limits.Ratio*max(c.r.packed(), 1) {
		return 0, tooLarge(c.raw, "unpacks to more than %d times its packed size", c.r.limits.Ratio)
	}
	switch {
	case errors.Is(err, io.EOF):
		if c.left > 0 {
			return n, broken(c.raw, io.ErrUnexpectedEOF)
		}
		c.done = true
		return n, io.EOF
	case err != nil:
		return n, broken(c.raw, err)
	}
	return n, nil
}
