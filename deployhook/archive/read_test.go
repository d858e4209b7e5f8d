package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"portico/deployhook/archive"
)

// read reads an archive and returns its files as "path" or "path*" (executable)
// to content.
func read(b []byte, limits archive.Limits) (map[string]string, archive.Info, error) {
	files := map[string]string{}
	info, err := archive.Read(context.Background(), bytes.NewReader(b), int64(len(b)), limits, func(f archive.File, r io.Reader) error {
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if int64(len(content)) != f.Size {
			return fmt.Errorf("%s: %d bytes came, %d were told", f.Path, len(content), f.Size)
		}
		name := f.Path
		if f.Exec {
			name += "*"
		}
		files[name] = string(content)
		return nil
	})
	return files, info, err
}

func TestReadGood(t *testing.T) {
	zipped := zipOf(t,
		entry{name: "bin/", mode: fs.ModeDir | 0o755},
		entry{name: "bin/run", body: "#!/bin/sh", mode: 0o755},
		entry{name: "index.html", body: "<p>"},
		entry{name: "empty", body: ""})
	tarred := tarOf(t,
		entry{tar: &tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123"}}},
		entry{tar: &tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}},
		entry{tar: &tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755}},
		entry{tar: &tar.Header{Name: "./bin/run", Mode: 0o750}, body: "#!/bin/sh"},
		entry{name: "./index.html", body: "<p>"},
		entry{name: "empty"})
	for format, b := range map[archive.Format][]byte{
		archive.Zip: zipped, archive.Tar: tarred, archive.TarGzip: gz(t, tarred), archive.TarZstd: zst(t, tarred),
	} {
		files, info, err := read(b, archive.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		want := map[string]string{"bin/run*": "#!/bin/sh", "index.html": "<p>", "empty": ""}
		if !maps.Equal(files, want) {
			t.Errorf("%s: files are %v, want %v", format, files, want)
		}
		if info.Format != format || info.Files != 3 || info.Size != 12 || info.Top != "" || info.War {
			t.Errorf("%s: info is %+v", format, info)
		}
	}
}

func TestReadTopAndWar(t *testing.T) {
	_, info, err := read(zipOf(t, entry{name: "site/a", body: "1"}, entry{name: "site/b/c", body: "2"}), archive.Limits{})
	if err != nil || info.Top != "site" || info.War {
		t.Errorf("info is %+v, %v; want the top folder", info, err)
	}
	_, info, err = read(zipOf(t, entry{name: "WEB-INF/web.xml", body: "1"}, entry{name: "index.jsp", body: "2"}), archive.Limits{})
	if err != nil || info.Top != "" || !info.War {
		t.Errorf("info is %+v, %v; want a WAR", info, err)
	}
	_, info, err = read(tarOf(t, entry{name: "WEB-INF/web.xml", body: "1"}), archive.Limits{})
	if err != nil || info.War {
		t.Errorf("info is %+v, %v; a tar is no WAR", info, err)
	}
}

// badNames are refused in every format.
var badNames = map[string]string{ // name to a piece of the reason
	"../evil":                      `".."`,
	"a/../../evil":                 `".."`,
	"a/./b":                        `"."`,
	"/etc/passwd":                  "absolute",
	"a//b":                         "empty name",
	`..\evil`:                      "backslash",
	`a\b`:                          "backslash",
	"C:/windows/x":                 "Windows",
	"C:x":                          "Windows",
	"a/file.txt:stream":            "Windows",
	"con":                          "device on Windows",
	"a/NUL.txt":                    "device on Windows",
	"a/Com1/b":                     "device on Windows",
	"lpt9.tar.gz":                  "device on Windows",
	"aux .txt":                     "device on Windows",
	"conin$":                       "device on Windows",
	"com¹":                         "device on Windows",
	"dot.":                         "dot or a space",
	"folder /x":                    "dot or a space",
	"a/...":                        "dot or a space",
	"new\nline":                    "control",
	"esc\x1b[2J":                   "control",
	"del\x7f":                      "control",
	"right\u202eto-left":           "control",
	"bom\ufeff":                    "control",
	"bad\xff\xfeutf8":              "UTF-8",
	"question?":                    "Windows",
	strings.Repeat("n", 256):       "256 bytes",
	strings.Repeat("a/", 300):      "", // 600 bytes of path; the reason differs by which limit is met first
	strings.Repeat("a/", 70) + "x": "64 folders deep",
}

func TestRefuseNames(t *testing.T) {
	for name, reason := range badNames {
		full := name
		if strings.HasSuffix(full, "/") {
			full += "x"
		}
		archives := map[string][]byte{"zip": zipOf(t, entry{name: "good", body: "g"}, entry{name: full, body: "b"})}
		if !strings.Contains(full, "\x00") {
			raw := tarOf(t, entry{name: "good", body: "g"}, entry{tar: &tar.Header{Name: full, Mode: 0o644, Format: tar.FormatGNU}, body: "b"})
			archives["tar"], archives["tar.gz"], archives["tar.zst"] = raw, gz(t, raw), zst(t, raw)
		}
		for format, b := range archives {
			wantRefused(t, format+" "+name, b, archive.Limits{}, full, reason)
		}
	}
}

// wantRefused demands a refusal that names the entry and the reason.
func wantRefused(t *testing.T, what string, b []byte, limits archive.Limits, name, reason string) {
	t.Helper()
	_, _, err := read(b, limits)
	var refused *archive.RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("%s: the error is %v, want a refusal", what, err)
		return
	}
	if refused.Entry != name {
		t.Errorf("%s: the refusal names %q, want %q", what, refused.Entry, name)
	}
	if !strings.Contains(refused.Error(), reason) {
		t.Errorf("%s: the reason is %q, want one with %q", what, refused.Error(), reason)
	}
	if strings.ContainsFunc(refused.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("%s: the text has control characters: %q", what, refused.Error())
	}
}

func TestRefusePairs(t *testing.T) {
	for _, c := range []struct {
		a, b, bad, reason string
	}{
		{"same", "same", "same", "twice"},
		{"Index.html", "index.html", "index.html", "case only"},
		{"Straße", "STRAßE", "STRAßE", "case only"},
		{"kelvin", "\u212Aelvin", "\u212Aelvin", "case only"},
		{"Img/a", "img/b", "img/b", "case only"},
		{"x", "x/y", "x/y", "which is a file"},
		{"x/y", "x", "x", "a file and a folder"},
		{"a/X/b", "a/x", "a/x", "case only"},
	} {
		wantRefused(t, "zip", zipOf(t, entry{name: c.a, body: "1"}, entry{name: c.b, body: "2"}), archive.Limits{}, c.bad, c.reason)
		wantRefused(t, "tar", tarOf(t, entry{name: c.a, body: "1"}, entry{name: c.b, body: "2"}), archive.Limits{}, c.bad, c.reason)
	}
}

func TestRefuseKindsZip(t *testing.T) {
	for mode, reason := range map[fs.FileMode]string{
		fs.ModeSymlink | 0o777:                    "symbolic link",
		fs.ModeDevice | 0o600:                     "device",
		fs.ModeDevice | fs.ModeCharDevice | 0o600: "device",
		fs.ModeNamedPipe | 0o600:                  "pipe",
		fs.ModeSocket | 0o600:                     "socket",
		fs.ModeSetuid | 0o755:                     "setuid",
		fs.ModeSetgid | 0o755:                     "setgid",
		fs.ModeSticky | 0o755:                     "sticky",
	} {
		wantRefused(t, "zip", zipOf(t, entry{name: "ok", body: "1"}, entry{name: "bad", body: "/etc", mode: mode}), archive.Limits{}, "bad", reason)
	}
	good := zipOf(t, entry{name: "bad", body: strings.Repeat("x", 100)})
	wantRefused(t, "encrypted", centralField(t, good, 8, 6, 1), archive.Limits{}, "bad", "encrypted")
	wantRefused(t, "bzip2", centralField(t, good, 10, 8, 12), archive.Limits{}, "bad", "method 12")
	wantRefused(t, "link by folder name", zipOf(t, entry{name: "bad/", mode: fs.ModeSymlink | 0o777}), archive.Limits{}, "bad/", "symbolic link")
}

func TestRefuseKindsTar(t *testing.T) {
	for _, c := range []struct {
		h      tar.Header
		reason string
	}{
		{tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "symbolic link"},
		{tar.Header{Typeflag: tar.TypeSymlink, Linkname: "good"}, "symbolic link"},
		{tar.Header{Typeflag: tar.TypeLink, Linkname: "good"}, "hard link"},
		{tar.Header{Typeflag: tar.TypeChar}, "device"},
		{tar.Header{Typeflag: tar.TypeBlock}, "device"},
		{tar.Header{Typeflag: tar.TypeFifo}, "pipe"},
		{tar.Header{Mode: 0o4755}, "setuid"},
		{tar.Header{Mode: 0o2755}, "setgid"},
		{tar.Header{Mode: 0o1755}, "sticky"},
		{tar.Header{Mode: 0o644, PAXRecords: map[string]string{"VENDOR.huge": strings.Repeat("x", 100_000)}, Format: tar.FormatPAX}, "extended header"},
	} {
		c.h.Name = "bad"
		b := tarOf(t, entry{name: "good", body: "g"}, entry{tar: &c.h})
		wantRefused(t, c.reason, b, archive.Limits{}, "bad", c.reason)
		wantRefused(t, c.reason, gz(t, b), archive.Limits{}, "bad", c.reason)
	}
	global := tarOf(t, entry{tar: &tar.Header{Name: "g", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "../evil"}}}, entry{name: "good", body: "g"})
	wantRefused(t, "global", global, archive.Limits{}, "../evil", "path")
}

// sparseTar is a tar whose entry has the old GNU sparse type.
func sparseTar(t testing.TB) []byte {
	b := tarOf(t, entry{tar: &tar.Header{Name: "bad", Mode: 0o644, Format: tar.FormatGNU}, body: "0123456789"})
	b[156] = tar.TypeGNUSparse
	for i := 386; i < 512; i++ {
		b[i] = 0
	}
	copy(b[386:], "00000000000\x0000000000012\x00") // one piece: from 0, ten bytes
	copy(b[483:], "00000000012\x00")                // real size
	return fixSum(b)
}

// fixSum sets the checksum of the first header.
func fixSum(b []byte) []byte {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestRefuseSparse(t *testing.T) {
	wantRefused(t, "old GNU", sparseTar(t), archive.Limits{}, "bad", "sparse")
	raw := tarOf(t, entry{tar: &tar.Header{Name: "bad", Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{"XXX.sparse.major": "1", "XXX.sparse.minor": "0", "XXX.sparse.name": "bad", "XXX.sparse.realsize": "10"}},
		body: "1\n0\n10\n" + strings.Repeat("\x00", 505) + "0123456789"})
	raw = bytes.ReplaceAll(raw, []byte("XXX.sparse."), []byte("GNU.sparse."))
	wantRefused(t, "pax", raw, archive.Limits{}, "bad", "sparse")
}

func TestRefuseDamage(t *testing.T) {
	body := strings.Repeat("content ", 400)
	z := zipOf(t, entry{name: "one", body: body}, entry{name: "two", body: "end"})
	raw := tarOf(t, entry{name: "one", body: body}, entry{name: "two", body: "end"})
	cases := map[string][]byte{
		"zip cut":          z[:len(z)-10],
		"zip cut early":    z[:40],
		"zip bad sum":      patch(t, zipStored(t, "one", body), "content", "cOntent", false),
		"tar cut in file":  raw[:1000],
		"tar cut at block": raw[:512+3584],
		"tar no end":       raw[:len(raw)-1024],
		"tar half an end":  raw[:len(raw)-512],
		"tar bad header":   patch(t, raw, "two", "tvo", false),
		"gz cut":           gz(t, raw)[:len(gz(t, raw))-4],
		"gz bad sum":       flip(gz(t, raw), -6),
		"gz without end":   gz(t, raw[:len(raw)-1024]),
		"zst cut":          zst(t, raw)[:len(zst(t, raw))-4],
		"zst bad sum":      flip(zst(t, raw), -2),
		"tar goes on":      append(bytes.Clone(raw), tarOf(t, entry{name: "three", body: "3"})...),
		"gz goes on":       append(gz(t, raw), "garbage"...),
	}
	for what, b := range cases {
		_, _, err := read(b, archive.Limits{})
		var refused *archive.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: the error is %v, want a refusal", what, err)
		}
	}
	wantRefused(t, "overlap", overlapping(t), archive.Limits{}, "b.txt", "shares its bytes")
	for what, b := range map[string][]byte{"nothing": {}, "text": []byte(strings.Repeat("hello ", 200)), "empty zip": zipOf(t), "empty tar": gz(t, tarOf(t)), "folders": tarOf(t, entry{tar: &tar.Header{Name: "d/", Typeflag: tar.TypeDir}})} {
		if _, _, err := read(b, archive.Limits{}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func flip(b []byte, at int) []byte {
	b[len(b)+at] ^= 0x55
	return b
}

// archive/zip takes a checksum of zero for "not given"; here it is a lie.
func TestRefuseZeroChecksum(t *testing.T) {
	b := zipStored(t, "one", "content")
	b = centralField(t, b, 16, 14, 0)
	b = centralField(t, b, 18, 16, 0)
	wantRefused(t, "zero sum", b, archive.Limits{}, "one", "checksum")
}

func TestRefuseOverLimits(t *testing.T) {
	many := make([]entry, 20)
	for i := range many {
		many[i] = entry{name: fmt.Sprintf("f%02d", i), body: strings.Repeat("x", 100)}
	}
	for what, limits := range map[string]archive.Limits{
		"entries": {Entries: 19}, "file": {File: 99}, "total": {Total: 1999},
	} {
		for format, b := range map[string][]byte{"zip": zipOf(t, many...), "tar": tarOf(t, many...), "gz": gz(t, tarOf(t, many...))} {
			_, _, err := read(b, limits)
			var refused *archive.RefusedError
			if !errors.As(err, &refused) || !refused.TooLarge {
				t.Errorf("%s %s: the error is %v, want one that says too large", format, what, err)
			}
		}
	}
	if _, _, err := read(zipOf(t, many...), archive.Limits{Entries: 20, File: 100, Total: 2000}); err != nil {
		t.Errorf("exactly at the limits: %v", err)
	}
}

func TestRefuseBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 30<<20)
	raw := tarOf(t, entry{name: "zeros", body: zeros})
	for what, b := range map[string][]byte{"zip": zipOf(t, entry{name: "zeros", body: zeros}), "gz": gz(t, raw), "zst": zst(t, raw)} {
		var seen int64
		_, err := archive.Read(context.Background(), bytes.NewReader(b), int64(len(b)), archive.Limits{}, func(f archive.File, r io.Reader) error {
			n, err := io.Copy(io.Discard, r)
			seen += n
			return err
		})
		var refused *archive.RefusedError
		if !errors.As(err, &refused) || !refused.TooLarge || refused.Entry != "zeros" {
			t.Errorf("%s: the error is %v, want the ratio's", what, err)
		}
		if seen > 12<<20 {
			t.Errorf("%s: %d bytes were unpacked before the bomb was seen", what, seen)
		}
	}
	// A directory with a million entries is refused without being built.
	var big bytes.Buffer
	one := zipOf(t, entry{name: "a", body: "x"})
	i, end := bytes.Index(one, []byte("PK\x01\x02")), bytes.Index(one, []byte("PK\x05\x06"))
	big.Write(one[:i])
	for range 200_000 {
		big.Write(one[i:end])
	}
	big.Write(one[end:])
	if _, _, err := read(big.Bytes(), archive.Limits{Entries: 1000}); err == nil {
		t.Error("a zip with 200,000 entries was taken where 1,000 are allowed")
	}
}

// A file whose reader is left early still has its checksum looked at.
func TestReadDrainsWhatVisitLeaves(t *testing.T) {
	b := patch(t, zipStored(t, "one", strings.Repeat("content ", 50)), "content", "cOntent", false)
	_, err := archive.Read(context.Background(), bytes.NewReader(b), int64(len(b)), archive.Limits{}, func(archive.File, io.Reader) error { return nil })
	if err == nil {
		t.Error("a bad checksum went unseen because nobody read the content")
	}
}

func TestReadEndsWithContextAndVisit(t *testing.T) {
	b := zipOf(t, entry{name: "a", body: "1"}, entry{name: "b", body: "2"})
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err := archive.Read(ctx, bytes.NewReader(b), int64(len(b)), archive.Limits{}, func(archive.File, io.Reader) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("after cancel: %v, %d files", err, n)
	}
	mine := errors.New("mine")
	_, err = archive.Read(context.Background(), bytes.NewReader(b), int64(len(b)), archive.Limits{}, func(archive.File, io.Reader) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("visit's error became %v", err)
	}
}

func TestDetect(t *testing.T) {
	raw := tarOf(t, entry{name: "a", body: "1"})
	for want, b := range map[archive.Format][]byte{archive.Zip: zipOf(t), archive.Tar: raw, archive.TarGzip: gz(t, raw), archive.TarZstd: zst(t, raw)} {
		if got, err := archive.Detect(bytes.NewReader(b)); got != want || err != nil {
			t.Errorf("detected %q, %v; want %q", got, err, want)
		}
	}
}
