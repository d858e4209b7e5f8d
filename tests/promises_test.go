package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"portico/tests/harness"
)

// Documents name the tests that hold what they promise: in backquotes, or in a
// comment behind the sentence, <!-- held by TestA TestB -->.
var (
	namedTest = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)[`/]")
	heldBy    = regexp.MustCompile(`<!-- held by ([A-Za-z0-9 ]+) -->`)
	caseOf    = regexp.MustCompile("`Test[A-Za-z0-9]+`((?:,? \"[a-z -]+\")+)")
	quoted    = regexp.MustCompile(`"([a-z -]+)"`)
)

// TestNamedTestsExist: a document that names a test which is gone promises what
// nobody holds any more.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	tests, cases := declaredTests(t)
	found := 0
	for _, file := range documents(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, base := string(data), filepath.Base(file)
		var names []string
		for _, m := range namedTest.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		for _, m := range heldBy.FindAllStringSubmatch(text, -1) {
			names = append(names, strings.Fields(m[1])...)
		}
		for _, name := range names {
			found++
			if !tests[name] {
				t.Errorf("%s names the test %s, which does not exist", base, name)
			}
		}
		for _, m := range caseOf.FindAllStringSubmatch(text, -1) {
			for _, q := range quoted.FindAllStringSubmatch(m[1], -1) {
				if !cases[q[1]] {
					t.Errorf("%s names the case %q, which does not exist", base, q[1])
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("the documents name %d tests: are they still read as they are written?", found)
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	files := []string{filepath.Join(harness.Root(), "README.md")}
	err := filepath.WalkDir(filepath.Join(harness.Root(), "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// declaredTests are the test functions of the whole project, and the names of the
// cases that every driver's tests run.
func declaredTests(t *testing.T) (tests, cases map[string]bool) {
	t.Helper()
	tests, cases = map[string]bool{}, map[string]bool{}
	shared := filepath.Join("proxy", "exchange", "exchangetest")
	err := filepath.WalkDir(harness.Root(), func(path string, d fs.DirEntry, err error) error {
		inTable := strings.Contains(path, shared+string(filepath.Separator))
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") && !(inTable && strings.HasSuffix(path, ".go")) {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if strings.HasPrefix(n.Name.Name, "Test") {
					tests[n.Name.Name] = true
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.BasicLit); ok && inTable && key.Kind == token.STRING {
					cases[strings.Trim(key.Value, "\"`")] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests, cases
}

// heldDocuments are those whose promises are held by tests, and whose blocks are run.
var heldDocuments = []string{
	"README.md", "docs/operations.md", "docs/sessions.md", "docs/configuration.md", "docs/haproxy.md", "docs/api.md", "docs/joining.md",
}

// TestParagraphsAreHeld: a paragraph of a document names the tests that hold it, behind it or within it; a
// table or a list may be followed by the comment. A sentence that leads to a block, a table or a list is held with it.
func TestParagraphsAreHeld(t *testing.T) {
	t.Parallel()
	for _, doc := range heldDocuments {
		data, err := os.ReadFile(filepath.Join(harness.Root(), doc))
		if err != nil {
			t.Fatal(err)
		}
		paragraphs := strings.Split(strings.TrimSpace(emptyLines.ReplaceAllString(string(data), "\n\n")), "\n\n")
		for i, text := range paragraphs {
			next := ""
			if i+1 < len(paragraphs) {
				next = paragraphs[i+1]
			}
			block := strings.HasPrefix(text, "    ") || strings.HasPrefix(text, "#") || strings.HasPrefix(strings.TrimSpace(text), "![")
			held := strings.Contains(text, "<!-- held by") || strings.HasPrefix(next, "<!-- held by") || namedTest.MatchString(text)
			leads := !strings.HasSuffix(text, ".") && (strings.HasPrefix(next, "    ") || strings.HasPrefix(next, "|") || strings.HasPrefix(next, "- ") || strings.HasPrefix(next, "1. "))
			if block || held || leads {
				continue
			}
			t.Errorf("%s: no test holds %q: name it behind the paragraph, <!-- held by TestX -->", doc, text[:min(len(text), 120)])
		}
	}
}

// TestLicence: the licence is the one that README names.
func TestLicence(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "LICENSE"))
	if err != nil || !strings.Contains(string(text), "Apache License") || !strings.Contains(string(text), "Version 2.0") {
		t.Errorf("LICENSE is not the Apache License 2.0: %v, %.100s", err, text)
	}
}

var emptyLines = regexp.MustCompile(`\n\s*\n`)
