package tests

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// TestSiteSettingsAreDocumented: a setting that the reference does not know is
// one that nobody finds.
func TestSiteSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, reference, ok := strings.Cut(string(text), "## The site's file")
	if !ok {
		t.Fatal("docs/configuration.md has no part on the site's file")
	}
	var check func(section string, typ reflect.Type)
	check = func(section string, typ reflect.Type) {
		part := reference
		if section != "" {
			if _, part, ok = strings.Cut(reference, "**`["+section+"]`**"); !ok {
				t.Errorf("the section [%s] is not documented", section)
				return
			}
			part, _, _ = strings.Cut(part, "| **`[")
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := f.Tag.Get("toml")
			if f.Type.Kind() == reflect.Struct {
				check(key, f.Type)
			} else if !strings.Contains(part, "| `"+key+"` |") {
				t.Errorf("%s.%s is not documented", section, key)
			}
		}
	}
	check("", reflect.TypeFor[catalog.Settings]())
}

// TestLinksInDocumentsLead: every relative link names a file that exists.
func TestLinksInDocumentsLead(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(harness.Root(), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, filepath.Join(harness.Root(), "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "](")[1:] {
			link, _, _ := strings.Cut(part, ")")
			link, _, _ = strings.Cut(link, "#")
			if link == "" || strings.Contains(link, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), link)); err != nil {
				t.Errorf("%s links to %s, which is not there", filepath.Base(file), link)
			}
		}
	}
}
