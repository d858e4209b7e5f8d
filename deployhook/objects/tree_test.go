package objects_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"portico/deployhook/archive"
	"portico/deployhook/objects"
)

func file(path, body string) objects.File {
	return objects.File{Path: path, Size: int64(len(body)), Digest: objects.Sum([]byte(body))}
}

func TestTree(t *testing.T) {
	run := file("bin/run", "#!/bin/sh")
	run.Exec = true
	a, err := objects.NewTree([]objects.File{file("index.html", "<p>"), run, file("a b/ü", "")}, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := objects.NewTree([]objects.File{run, file("a b/ü", ""), file("index.html", "<p>")}, archive.Limits{})
	if err != nil || a.Digest() != b.Digest() {
		t.Errorf("the order of the files changed the digest: %s, %s, %v", a.Digest(), b.Digest(), err)
	}
	want := "portico tree 1\n" +
		objects.Sum(nil) + " 0 - a b/ü\n" +
		objects.Sum([]byte("#!/bin/sh")) + " 9 x bin/run\n" +
		objects.Sum([]byte("<p>")) + " 3 - index.html\n"
	if got := string(a.Encode()); got != want {
		t.Errorf("encoded:\n%swant:\n%s", got, want)
	}
	back, err := objects.Decode(a.Encode(), archive.Limits{})
	if err != nil || back.Digest() != a.Digest() || back.Size() != 12 {
		t.Errorf("decoded %+v, %v", back, err)
	}
	s := open(t)
	digest, err := s.PutTree(a)
	if err != nil || digest != a.Digest() {
		t.Errorf("stored as %s, %v", digest, err)
	}
	if got, err := s.Tree(digest, archive.Limits{}); err != nil || len(got.Files) != 3 {
		t.Errorf("read back %+v, %v", got, err)
	}
	damage(t, s, digest)
	if _, err := s.Tree(digest, archive.Limits{}); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("a damaged tree gave %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	d := objects.Sum(nil)
	line := func(path string) string { return d + " 0 - " + path + "\n" }
	for what, text := range map[string]string{
		"empty":          "",
		"other header":   "portico tree 2\n",
		"cut":            "portico tree 1\n" + strings.TrimSuffix(line("a"), "\n"),
		"order":          "portico tree 1\n" + line("b") + line("a"),
		"twice":          "portico tree 1\n" + line("a") + line("a"),
		"case":           "portico tree 1\n" + line("A") + line("a"),
		"file in file":   "portico tree 1\n" + line("a") + line("a/b"),
		"dot-dot":        "portico tree 1\n" + line("../a"),
		"absolute":       "portico tree 1\n" + line("/a"),
		"backslash":      "portico tree 1\n" + line(`a\b`),
		"device":         "portico tree 1\n" + line("con"),
		"no path":        "portico tree 1\n" + line(""),
		"bad digest":     "portico tree 1\nabc 0 - a\n",
		"capital digest": "portico tree 1\n" + strings.ToUpper(line("")) + "a\n",
		"bad size":       "portico tree 1\n" + d + " 0x1 - a\n",
		"signed size":    "portico tree 1\n" + d + " +1 - a\n",
		"zero-padded":    "portico tree 1\n" + d + " 01 - a\n",
		"negative":       "portico tree 1\n" + d + " -1 - a\n",
		"overflow":       "portico tree 1\n" + d + " 99999999999999999999 - a\n",
		"bad mode":       "portico tree 1\n" + d + " 0 s a\n",
		"large file":     "portico tree 1\n" + d + fmt.Sprintf(" %d - a\n", archive.DefaultFile+1),
		"large total":    "portico tree 1\n" + largeTotal(),
	} {
		if tree, err := objects.Decode([]byte(text), archive.Limits{}); err == nil {
			t.Errorf("%s: it was taken as %+v", what, tree)
		}
	}
	if _, err := objects.Decode([]byte("portico tree 1\n"+line("a")+line("b")), archive.Limits{Entries: 1}); err == nil {
		t.Error("too many files were taken")
	}
}

func largeTotal() string {
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, "%s %d - f%d\n", objects.Sum(nil), archive.DefaultFile, i)
	}
	return b.String()
}

func FuzzDecode(f *testing.F) {
	tree, err := objects.NewTree([]objects.File{file("a/b", "x"), file("c", "")}, archive.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tree.Encode())
	f.Add([]byte("portico tree 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := objects.Decode(b, archive.Limits{})
		if err != nil {
			return
		}
		if string(tree.Encode()) != string(b) {
			t.Errorf("%q is not the one form of its tree, %q", b, tree.Encode())
		}
	})
}
