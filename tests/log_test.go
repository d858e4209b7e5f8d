package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What went wrong stands under one key in every line of the log, "error", so that one search
// finds it: no other key takes an error, and none is called "err".
func TestLogKeyOfErrors(t *testing.T) {
	t.Parallel()
	calls := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." || entry.Name() == "testdata") {
			return skipFolder(err, entry)
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !logs(call) {
				return true
			}
			calls++
			for i, arg := range call.Args {
				literal, ok := arg.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					continue
				}
				key, _ := strconv.Unquote(literal.Value)
				holdsErr := i+1 < len(call.Args) && isErr(call.Args[i+1])
				if key == "err" || holdsErr && key != "error" {
					t.Errorf("%s: the key %q: an error stands under \"error\"", files.Position(arg.Pos()), key)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 100 {
		t.Errorf("only %d lines are logged: the test looks past them", calls)
	}
}

// skipFolder ends a walk with its error, or leaves a folder out.
func skipFolder(err error, entry fs.DirEntry) error {
	if err != nil || !entry.IsDir() {
		return err
	}
	return filepath.SkipDir
}

// logs reports whether a call writes a line with pairs of keys and values, or prepares one.
func logs(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error", "With", "Any", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"}, method.Sel.Name) {
		return false
	}
	switch on := method.X.(type) {
	case *ast.Ident:
		return strings.HasSuffix(strings.ToLower(on.Name), "log")
	case *ast.SelectorExpr:
		return strings.HasSuffix(strings.ToLower(on.Sel.Name), "log")
	}
	return false
}

// isErr reports whether a value is an error by its name.
func isErr(value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.Ident:
		return v.Name == "err" || strings.HasPrefix(v.Name, "err") && len(v.Name) > 3 && v.Name[3] <= 'Z'
	case *ast.SelectorExpr:
		return v.Sel.Name == "Err"
	case *ast.CallExpr:
		method, ok := v.Fun.(*ast.SelectorExpr)
		return ok && method.Sel.Name == "Error" && len(v.Args) == 0
	}
	return false
}
