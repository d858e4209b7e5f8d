package objects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/deployhook/objects"
)

func open(t testing.TB) *objects.Store {
	t.Helper()
	s, err := objects.Open(filepath.Join(t.TempDir(), "objects"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *objects.Store, body string) string {
	t.Helper()
	digest, size, err := s.Put(strings.NewReader(body))
	if err != nil || size != int64(len(body)) || digest != objects.Sum([]byte(body)) {
		t.Fatalf("put gave %s, %d, %v", digest, size, err)
	}
	return digest
}

func content(t testing.TB, s *objects.Store, digest string) string {
	t.Helper()
	f, err := s.Open(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// leftovers returns the temporary files of a store.
func leftovers(t testing.TB, s *objects.Store) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(s.Dir(), "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// count returns how many objects the store has.
func count(t testing.TB, s *objects.Store) int {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.Dir(), "??", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func has(s *objects.Store, digest string) bool {
	_, err := s.Size(digest)
	return err == nil
}

func TestPutAndOpen(t *testing.T) {
	s := open(t)
	for _, body := range []string{"", "hello", strings.Repeat("large ", 100_000)} {
		digest := put(t, s, body)
		if again := put(t, s, body); again != digest {
			t.Errorf("the same content got %s and %s", digest, again)
		}
		if got := content(t, s, digest); got != body {
			t.Errorf("%d bytes came back as %d", len(body), len(got))
		}
		if n, err := s.Size(digest); n != int64(len(body)) || err != nil || !has(s, digest) {
			t.Errorf("size is %d, %v", n, err)
		}
	}
	if len(leftovers(t, s)) != 0 {
		t.Error("temporary files are left")
	}
	if n := count(t, s); n != 3 {
		t.Errorf("the store has %d objects", n)
	}
}

func TestAddVerified(t *testing.T) {
	s := open(t)
	put := func(digest, body string) error {
		b := s.NewBatch()
		defer b.Close()
		if err := b.AddVerified(digest, strings.NewReader(body)); err != nil {
			return err
		}
		return b.Commit()
	}
	good := objects.Sum([]byte("good"))
	if err := put(good, "evil"); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("other content gave %v", err)
	}
	if has(s, good) || has(s, objects.Sum([]byte("evil"))) || len(leftovers(t, s)) != 0 {
		t.Error("refused content was kept")
	}
	if err := put(good, "good"); err != nil {
		t.Error(err)
	}
	if err := put("../../etc/passwd", "x"); !errors.Is(err, objects.ErrBadDigest) {
		t.Errorf("a bad digest gave %v", err)
	}
}

func TestBadDigests(t *testing.T) {
	s := open(t)
	for _, digest := range []string{"", "..", "../../../x", strings.Repeat("g", 64), strings.Repeat("A", 64), strings.Repeat("a", 63), strings.Repeat("a", 65), strings.Repeat("a", 63) + "/"} {
		if has(s, digest) || s.Path(digest) != "" {
			t.Errorf("%q was taken for a digest", digest)
		}
		if _, err := s.Open(digest); !errors.Is(err, objects.ErrBadDigest) {
			t.Errorf("open %q: %v", digest, err)
		}
		if err := s.Remove(digest); !errors.Is(err, objects.ErrBadDigest) {
			t.Errorf("remove %q: %v", digest, err)
		}
	}
	if _, err := s.Open(strings.Repeat("a", 64)); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("an object that is not there: %v", err)
	}
}

// broken fails in the middle, as a connection does.
type broken struct{ r io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestNothingIsSeenBeforeCommit(t *testing.T) {
	s := open(t)
	b := s.NewBatch()
	digest, _, err := b.Add(strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Add(broken{strings.NewReader("half")}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken reader gave %v", err)
	}
	if has(s, digest) {
		t.Error("an object could be seen before its commit")
	}
	b.Close()
	b.Close()
	if has(s, digest) || len(leftovers(t, s)) != 0 {
		t.Error("a batch that was dropped left something")
	}
	if _, _, err := b.Add(strings.NewReader("late")); err == nil {
		t.Error("a closed batch took more")
	}
	if err := b.Commit(); err == nil || len(leftovers(t, s)) != 0 {
		t.Error("a closed batch was committed")
	}
}

func TestOpenRemovesTemporaryFiles(t *testing.T) {
	s := open(t)
	digest := put(t, s, "kept")
	b := s.NewBatch()
	if _, _, err := b.Add(strings.NewReader(strings.Repeat("lost with the process", 100_000))); err != nil {
		t.Fatal(err)
	}
	if len(leftovers(t, s)) != 1 {
		t.Fatal("the batch has no temporary file")
	}
	again, err := objects.Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if len(leftovers(t, again)) != 0 || !has(again, digest) {
		t.Error("a restart must drop temporary files and keep objects")
	}
}

func TestConcurrentPuts(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := s.NewBatch()
			defer b.Close()
			for j := range 50 {
				if _, _, err := b.Add(strings.NewReader(fmt.Sprint("shared ", j))); err != nil {
					t.Error(err)
				}
				if _, _, err := b.Add(strings.NewReader(fmt.Sprint("own ", i, j))); err != nil {
					t.Error(err)
				}
			}
			if err := b.Commit(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, s); n != 50+8*50 {
		t.Errorf("the store has %d objects", n)
	}
}

func TestCorruptionIsFoundAndHealed(t *testing.T) {
	s := open(t)
	digest := put(t, s, "precious")
	damage(t, s, digest)
	if _, err := s.ReadAll(digest, 100); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("a flipped bit gave %v", err)
	}
	if has(s, digest) {
		t.Error("the damaged object is still there")
	}
	put(t, s, "precious")
	if _, err := s.ReadAll(digest, 100); err != nil {
		t.Errorf("after storing it again: %v", err)
	}
	digest = put(t, s, "shortened")
	if err := os.Truncate(s.Path(digest), 3); err != nil {
		t.Fatal(err)
	}
	put(t, s, "shortened")
	if got := content(t, s, digest); got != "shortened" {
		t.Errorf("storing it again left %q", got)
	}
	if _, err := s.ReadAll(digest, 3); err == nil {
		t.Error("a limit was not kept")
	}
}

// damage flips a bit of an object on disk.
func damage(t testing.TB, s *objects.Store, digest string) {
	t.Helper()
	b, err := os.ReadFile(s.Path(digest))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(s.Path(digest), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGC(t *testing.T) {
	s := open(t)
	kept, old, young, renewed := put(t, s, "kept"), put(t, s, "old"), put(t, s, "young"), put(t, s, "renewed")
	past := time.Now().Add(-48 * time.Hour)
	for _, digest := range []string{kept, old, renewed} {
		if err := os.Chtimes(s.Path(digest), past, past); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "renewed") // an upload that is under way uses it again
	removed, freed, err := s.GC(context.Background(), func(d string) bool { return d == kept }, 24*time.Hour)
	if err != nil || removed != 1 || freed != 3 {
		t.Errorf("removed %d with %d bytes, %v; want 1 with 3", removed, freed, err)
	}
	if !has(s, kept) || has(s, old) || !has(s, young) || !has(s, renewed) {
		t.Error("the wrong objects are left")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.GC(ctx, func(string) bool { return true }, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled collection gave %v", err)
	}
}

func BenchmarkBatch10000(b *testing.B) {
	for b.Loop() {
		s := open(b)
		batch := s.NewBatch()
		for i := range 10_000 {
			if _, _, err := batch.Add(bytes.NewReader(fmt.Appendf(nil, "file %d of many, each of them small", i))); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(); err != nil {
			b.Fatal(err)
		}
		batch.Close()
	}
}
