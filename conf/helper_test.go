package conf_test

import (
	"reflect"
	"strings"
)

// has reports whether a parsed document has a value at a dotted path; in a
// list of tables, in its first.
func has(tree map[string]any, path string) bool {
	key, rest, more := strings.Cut(path, ".")
	v, ok := tree[key]
	if !ok || !more {
		return ok
	}
	if list, isList := v.([]any); isList && len(list) > 0 {
		v = list[0]
	}
	sub, isTable := v.(map[string]any)
	return isTable && has(sub, rest)
}

// tagPaths returns the dotted paths of all keys of a struct.
func tagPaths(v any) []string { return typePaths(reflect.TypeOf(v), "") }

func typePaths(t reflect.Type, prefix string) []string {
	var paths []string
	for i := range t.NumField() {
		f := t.Field(i)
		here := prefix + f.Tag.Get("toml")
		ft := f.Type
		if f.Anonymous {
			paths = append(paths, typePaths(ft, prefix)...)
			continue
		}
		if ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct {
			paths = append(paths, typePaths(ft, here+".")...)
			continue
		}
		paths = append(paths, here)
	}
	return paths
}
