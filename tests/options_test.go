package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// TestNoDeadOptions: an option that nothing but its own package can set, and a setting or a flag that
// nothing reads, is a promise that no binary keeps. Every exported field of a struct named …Options or
// …Config is set by code outside its package; every setting of the two files is read by more than what
// checks it; every flag's variable is read.
func TestNoDeadOptions(t *testing.T) {
	t.Parallel()
	m := checkModule(t)
	for _, s := range m.structs() {
		if !strings.HasSuffix(s.name, "Options") && !strings.HasSuffix(s.name, "Config") || s.pkg == "portico/conf" {
			continue
		}
		for i := range s.st.NumFields() {
			if f := s.st.Field(i); f.Exported() && !m.used[f].set {
				t.Errorf("%s.%s.%s: an option that no code outside its package sets", path.Base(s.pkg), s.name, f.Name())
			}
		}
	}
	for _, root := range []struct{ pkg, name string }{{"portico/conf", "Config"}, {"portico/conf/sites", "Settings"}} {
		o := m.packages[root.pkg].Scope().Lookup(root.name)
		m.eachSetting(o.Type(), func(owner string, f *types.Var) {
			if !m.used[f].read {
				t.Errorf("%s.%s.%s: a setting that nothing reads but what checks it", path.Base(root.pkg), owner, f.Name())
			}
		})
	}
	for _, flag := range m.deadFlags() {
		t.Errorf("flag --%s: nothing reads what it is set to", flag)
	}
}

// module is the project's own code, type-checked without what it imports from elsewhere: of that only our
// own structs matter here.
type module struct {
	set      *token.FileSet
	info     *types.Info
	packages map[string]*types.Package
	files    map[string][]*ast.File

	used map[*types.Var]use
}

// use says what is done with a field outside of its package.
type use struct{ set, read bool }

type structType struct {
	pkg, name string
	st        *types.Struct
}

func checkModule(t *testing.T) *module {
	t.Helper()
	m := &module{
		set: token.NewFileSet(), packages: map[string]*types.Package{}, files: map[string][]*ast.File{}, used: map[*types.Var]use{},
		info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}},
	}
	imports := map[string][]string{}
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, "tests") {
			continue
		}
		full := path.Join("portico", p.ImportPath)
		imports[full] = p.Imports
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(m.set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			m.files[full] = append(m.files[full], f)
		}
	}
	for name := range imports {
		m.check(name, imports)
	}
	for name, files := range m.files {
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool { m.note(name, n); return true })
		}
	}
	if len(m.used) < 200 {
		t.Fatalf("only %d fields are used: is the code still read as it is written?", len(m.used))
	}
	return m
}

// check checks a package after those of ours that it imports.
func (m *module) check(name string, imports map[string][]string) {
	if m.packages[name] != nil {
		return
	}
	m.packages[name] = types.NewPackage(name, path.Base(name)) // no package imports itself
	for _, imp := range imports[name] {
		if m.files[imp] != nil {
			m.check(imp, imports)
		}
	}
	config := types.Config{Importer: foreign{m}, Error: func(error) {}, FakeImportC: true} // what is foreign is unknown
	m.packages[name], _ = config.Check(name, m.set, m.files[name], m.info)
}

// foreign imports our packages as they are, and others as empty ones.
type foreign struct{ m *module }

func (f foreign) Import(name string) (*types.Package, error) {
	if p := f.m.packages[name]; p != nil {
		return p, nil
	}
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// note writes down what a node does to a field of another package.
func (m *module) note(in string, n ast.Node) {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		m.touch(in, n, use{read: true})
	case *ast.AssignStmt:
		for _, left := range n.Lhs {
			for { // x.F.G = … sets G, and something of F
				sel, ok := ast.Unparen(left).(*ast.SelectorExpr)
				if !ok {
					break
				}
				m.touch(in, sel, use{set: true})
				left = sel.X
			}
		}
	case *ast.UnaryExpr:
		if sel, ok := ast.Unparen(n.X).(*ast.SelectorExpr); ok && n.Op == token.AND {
			m.touch(in, sel, use{set: true})
		}
	case *ast.CompositeLit:
		st := structOf(m.info.Types[n].Type)
		for i, e := range n.Elts {
			kv, keyed := e.(*ast.KeyValueExpr)
			switch {
			case keyed:
				if key, ok := kv.Key.(*ast.Ident); ok {
					if f, ok := m.info.Uses[key].(*types.Var); ok && f.IsField() {
						m.mark(in, f, use{set: true})
					}
				}
			case st != nil && i < st.NumFields():
				m.mark(in, st.Field(i), use{set: true})
			}
		}
	case *ast.CallExpr: // a conversion hands every field on
		if tv := m.info.Types[n.Fun]; tv.IsType() && len(n.Args) == 1 && structOf(tv.Type) != nil {
			if st := structOf(m.info.Types[n.Args[0]].Type); st != nil {
				for i := range st.NumFields() {
					m.mark(in, st.Field(i), use{read: true})
				}
			}
		}
	}
}

func (m *module) touch(in string, sel *ast.SelectorExpr, how use) {
	if s := m.info.Selections[sel]; s != nil {
		if f, ok := s.Obj().(*types.Var); ok {
			m.mark(in, f, how)
		}
	}
}

func (m *module) mark(in string, f *types.Var, how use) {
	if f.Pkg() == nil || f.Pkg().Path() == in {
		return
	}
	was := m.used[f]
	m.used[f] = use{set: was.set || how.set, read: was.read || how.read}
}

func structOf(t types.Type) *types.Struct {
	if t == nil {
		return nil
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	st, _ := t.Underlying().(*types.Struct)
	return st
}

// eachSetting visits the fields of a struct type and of those in it that are its package's own.
func (m *module) eachSetting(t types.Type, visit func(owner string, f *types.Var)) {
	for {
		s, ok := t.(*types.Slice)
		if !ok {
			break
		}
		t = s.Elem()
	}
	named, ok := t.(*types.Named)
	if !ok {
		return
	}
	st := structOf(named)
	if st == nil {
		return
	}
	for i := range st.NumFields() {
		f := st.Field(i)
		if f.Pkg() != named.Obj().Pkg() || !f.Exported() {
			continue
		}
		if structOf(f.Type()) == nil {
			visit(named.Obj().Name(), f)
		}
		m.eachSetting(f.Type(), visit)
	}
}

// structs are the exported struct types of the project.
func (m *module) structs() []structType {
	var all []structType
	for name, p := range m.packages {
		for _, id := range p.Scope().Names() {
			if o, ok := p.Scope().Lookup(id).(*types.TypeName); ok && o.Exported() {
				if st := structOf(o.Type()); st != nil {
					all = append(all, structType{name, id, st})
				}
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].pkg+all[i].name < all[j].pkg+all[j].name })
	return all
}

// deadFlags are the flags of the command whose variable is named nowhere but where the flag is made.
func (m *module) deadFlags() []string {
	made := map[types.Object]string{}
	uses := map[types.Object]int{}
	var command []*ast.File
	for name, files := range m.files {
		if strings.HasPrefix(name, "portico/cmd/portico") {
			command = append(command, files...)
		}
	}
	for _, f := range command {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if o := m.info.Uses[n]; o != nil {
					uses[o]++
				}
			case *ast.CallExpr:
				fun, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || len(n.Args) < 2 || !strings.Contains(fun.Sel.Name, "Var") {
					break
				}
				target, ok := n.Args[0].(*ast.UnaryExpr)
				name, named := n.Args[1].(*ast.BasicLit)
				if !ok || !named || target.Op != token.AND {
					break
				}
				switch x := target.X.(type) {
				case *ast.Ident:
					made[m.info.Uses[x]] = strings.Trim(name.Value, `"`)
				case *ast.SelectorExpr:
					if o := m.info.Uses[x.Sel]; o != nil && o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), "portico/cmd/portico") {
						made[o] = strings.Trim(name.Value, `"`)
					}
				}
			}
			return true
		})
	}
	var dead []string
	for o, name := range made {
		if uses[o] < 2 {
			dead = append(dead, name)
		}
	}
	sort.Strings(dead)
	return dead
}
