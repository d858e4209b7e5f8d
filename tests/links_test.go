package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"portico/tests/harness"
)

// TestLinksInDocumentsLead: every relative link of a document names a file that exists, and a heading of it where it names one.
// A document that is named without a link, as `sessions.md`, lies beside the one that names it, in docs or at the top.
func TestLinksInDocumentsLead(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`([a-zA-Z0-9/_.-]+\\.md)`")
	for _, file := range append(documents(t), filepath.Join(harness.Root(), "CHANGELOG.md")) {
		text := read(t, file)
		for _, part := range strings.Split(text, "](")[1:] {
			link, _, _ := strings.Cut(part, ")")
			if strings.Contains(link, "://") {
				continue
			}
			name, heading, _ := strings.Cut(link, "#")
			target := file
			if name != "" {
				target = filepath.Join(filepath.Dir(file), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", filepath.Base(file), link)
			} else if heading != "" && !headings(read(t, target))[heading] {
				t.Errorf("%s links to %s, and there is no such heading", filepath.Base(file), link)
			}
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if !exists(filepath.Join(filepath.Dir(file), m[1]), filepath.Join(harness.Root(), "docs", m[1]), filepath.Join(harness.Root(), m[1])) {
				t.Errorf("%s names %s, which is not there", filepath.Base(file), m[1])
			}
		}
	}
}

// headings are the names by which a link reaches the headings of a document: their words in small letters with hyphens between.
func headings(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading))] = true
	}
	return all
}

func exists(files ...string) bool {
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	return false
}
