package tests

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"portico/conf"
	"portico/conf/sites"
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
			if f.Anonymous {
				check(section, f.Type)
			} else if f.Type.Kind() == reflect.Struct {
				check(key, f.Type)
			} else if !strings.Contains(part, "| `"+key+"` |") {
				t.Errorf("%s.%s is not documented", section, key)
			}
		}
	}
	check("", reflect.TypeFor[sites.Settings]())
}

var (
	keyRow    = regexp.MustCompile("(?m)^\\| (?:\\*\\*)?`\\[?([a-z_]+)\\]?`")
	dottedKey = regexp.MustCompile("`([a-z]+(?:\\.[a-z_]+)+)(?: ?=[^`]*)?`")
	variable  = regexp.MustCompile(`PORTICO_[A-Z_]+`)
)

// TestDocumentedSettingsExist: whoever writes a key that a document names is not told that it is unknown.
func TestDocumentedSettingsExist(t *testing.T) {
	t.Parallel()
	process, site := map[string]bool{}, map[string]bool{}
	tomlKeys(reflect.TypeFor[conf.Config](), "", process)
	tomlKeys(reflect.TypeFor[sites.Settings](), "", site)
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, reference, _ := strings.Cut(read(filepath.Join(harness.Root(), "docs", "configuration.md")), "## The site's file")
	section := ""
	for _, m := range keyRow.FindAllStringSubmatch(reference, -1) {
		key := section + m[1]
		if strings.HasPrefix(m[0], "| **") {
			key, section = m[1], m[1]+"."
		}
		if !site[key] {
			t.Errorf("configuration.md has the key %s of a site, which does not exist", key)
		}
	}
	named := 0
	for _, file := range documents(t) {
		text, base := read(file), filepath.Base(file)
		for _, m := range dottedKey.FindAllStringSubmatch(text, -1) {
			first, _, _ := strings.Cut(m[1], ".")
			if !process[first] && !site[first] || otherNames[m[1]] {
				continue // a file or a host
			}
			named++
			// A site's env has names of its own. What the file gives a static site is told as conf tells it.
			if !process[m[1]] && !site[m[1]] && first != "env" {
				t.Errorf("%s names the setting %s, which does not exist", base, m[1])
			}
		}
		for _, name := range variable.FindAllString(text, -1) {
			path := strings.TrimPrefix(name, "PORTICO_")
			if !ownVariables[path] && !slices.ContainsFunc(slices.Collect(maps.Keys(process)), func(key string) bool {
				return strings.ToUpper(strings.ReplaceAll(key, ".", "_")) == path
			}) {
				t.Errorf("%s names the variable %s, which nothing reads", base, name)
			}
		}
	}
	if named < 60 {
		t.Errorf("the documents name %d settings: are they still read as they are written?", named)
	}
}

// otherNames look like settings and are none.
var otherNames = map[string]bool{"session.save_path": true} // PHP's

// ownVariables are those that a client command reads, that a site's process is given, and the tests'.
var ownVariables = map[string]bool{
	"ADDR": true, "TOKEN": true, "FINGERPRINT": true, "CONFIG": true,
	"SITE": true, "RELEASE": true, "RELEASE_DIR": true, "DATA_DIR": true, "INSTANCE": true, "MEMBER": true,
	"TEST_RACE": true, "SOAK_FOR": true, "BENCH_PROFILE": true,
}

// tomlKeys collects the keys of a document, sections too.
func tomlKeys(typ reflect.Type, before string, keys map[string]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous && key == "" {
			tomlKeys(f.Type, before, keys)
		} else if key != "" && key != "-" {
			keys[before+key] = true
			tomlKeys(f.Type, before+key+".", keys)
		}
	}
}

var (
	inDocuments = regexp.MustCompile("portico_[a-z_]+")
	parts       = regexp.MustCompile("_(bucket|sum|count)$") // of a histogram
	inCode      = regexp.MustCompile("[\"`](portico_[a-z_]+)")
)

// TestMetricsAreDocumented: docs/api.md has every metric, and no document one that is not exported.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	exported := map[string]bool{}
	var files []string
	for _, below := range []string{"*.go", "*/*.go", "*/*/*.go"} {
		more, err := filepath.Glob(filepath.Join(harness.Root(), "proxy", below))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || filepath.Base(filepath.Dir(file)) == "haproxy" { // whose names are in HAProxy's configuration
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inCode.FindAllStringSubmatch(string(text), -1) {
			exported[parts.ReplaceAllString(m[1], "")] = true
		}
	}
	named := map[string]bool{}
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range inDocuments.FindAllString(string(text), -1) {
			name = parts.ReplaceAllString(name, "")
			if !exported[name] {
				t.Errorf("%s names the metric %s, which is not exported", filepath.Base(file), name)
			}
			named[name] = named[name] || filepath.Base(file) == "api.md"
		}
	}
	for name := range exported {
		if !named[name] {
			t.Errorf("docs/api.md does not name the metric %s", name)
		}
	}
	if len(exported) < 40 {
		t.Errorf("%d metrics were found in the code", len(exported))
	}
}

var message = regexp.MustCompile(`"([^"]+)"`)

// TestQuotedMessagesExist: what operations.md quotes for whoever searches it for a message is what the program says.
func TestQuotedMessagesExist(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	err := filepath.WalkDir(harness.Root(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## When something is wrong\n")
	table, _, _ = strings.Cut(table, "\n## ")
	quoted := 0
	for line := range strings.Lines(table) {
		seen, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range message.FindAllStringSubmatch(seen, -1) {
			quoted++
			for part := range strings.SplitSeq(m[1], "…") {
				if part = strings.TrimSpace(part); !strings.Contains(code.String(), part) && part != syscall.ENOSPC.Error()[:len("no space left")] {
					t.Errorf("operations.md quotes %q, which the program does not say", m[1])
				}
			}
		}
	}
	if quoted < 8 {
		t.Errorf("operations.md quotes %d messages", quoted)
	}
}
