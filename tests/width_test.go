package tests

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"portico/tests/harness"
)

// commentWidth is how many characters a line of a comment has at most, with its indent.
const commentWidth = 140

// TestCommentsFit: a comment is read in a window of one width, wherever it stands.
func TestCommentsFit(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(harness.Root(), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		n := 0
		for line := range strings.Lines(read(t, path)) {
			n++
			line = strings.TrimSuffix(line, "\n")
			if width := utf8.RuneCountInString(line); width > commentWidth && strings.HasPrefix(strings.TrimSpace(line), "//") {
				t.Errorf("%s:%d: the comment's line has %d characters, more than %d", path, n, width, commentWidth)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
