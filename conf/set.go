package conf

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"portico/internal/nearest"
)

// Key is one setting that has a name of its own: everything but the lists of
// tables (static sites, certificates), which only a file can hold.
type Key struct {
	Path string // "proxy.timeouts.header"
	Env  string // "PORTICO_PROXY_TIMEOUTS_HEADER"
	Bool bool   // a flag of this name needs no value
}

// Keys returns every setting that Set, and so a variable or a flag, can reach,
// in the order of the documentation.
func Keys() []Key { return keysOf(reflect.TypeFor[Config](), "") }

func keysOf(t reflect.Type, path string) []Key {
	var keys []Key
	for _, f := range settingsOf(t) {
		here := join(path, keyOf(f))
		_, text := reflect.New(f.Type).Interface().(encoding.TextUnmarshaler)
		switch {
		case text:
		case f.Type.Kind() == reflect.Struct:
			keys = append(keys, keysOf(f.Type, here)...)
			continue
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			continue
		}
		keys = append(keys, Key{Path: here, Env: envName(here), Bool: f.Type.Kind() == reflect.Bool})
	}
	return keys
}

// Set gives the setting at a dotted path ("proxy.http") the value that text
// says. Lists are separated by commas, the one dictionary (agent.runtimes) is
// written name=version. The error names the path, and for an unknown one the
// nearest; Validate is the caller's next step.
func (c *Config) Set(path, text string) error {
	_, err := SetPath(c, path, text)
	return err
}

// SetPath is Config.Set for any struct with toml tags; it also returns the value
// that the text means. A path may end below a dictionary: "env.LANG".
func SetPath(into any, path, text string) (any, error) {
	root := reflect.ValueOf(into).Elem()
	v, rest, more := root, path, true
	for more && v.Kind() == reflect.Struct {
		var key string
		key, rest, more = strings.Cut(rest, ".")
		i, known := fieldsOf(v.Type())[key]
		if !known {
			return nil, unknownSetting(root.Type(), path)
		}
		v = v.FieldByIndex(i)
	}
	switch {
	case !more:
		if err := setText(v, text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return v.Interface(), nil
	case v.Kind() == reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(rest), reflect.ValueOf(text))
		return text, nil
	}
	return nil, unknownSetting(root.Type(), path)
}

func unknownSetting(t reflect.Type, path string) error {
	return fmt.Errorf("unknown setting %q%s", path, suggest(t, path))
}

func suggest(t reflect.Type, path string) string {
	var paths []string
	for _, k := range keysOf(t, "") {
		paths = append(paths, k.Path)
	}
	if near, ok := nearest.Word(path, paths); ok {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	for _, p := range paths {
		if last(p) == path {
			return fmt.Sprintf(": did you mean %q?", p)
		}
	}
	return ": docs/configuration.md lists them"
}

func setText(v reflect.Value, text string) error {
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return t.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", clip(text))
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", clip(text))
		}
		v.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%q is not a number", clip(text))
		}
		v.SetFloat(n)
	case reflect.Slice:
		return setList(v, text)
	case reflect.Map:
		return setDictionary(v, text)
	default:
		return fmt.Errorf("is a table: name one of the settings in it")
	}
	return nil
}

func setList(v reflect.Value, text string) error {
	if v.Type().Elem().Kind() == reflect.Struct {
		return fmt.Errorf("is a list of tables: only a file can hold it")
	}
	items := splitList(text)
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := setText(list.Index(i), item); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func setDictionary(v reflect.Value, text string) error {
	dict := reflect.MakeMap(v.Type())
	for _, item := range splitList(text) {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not of the form name=value", clip(item))
		}
		dict.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(value))
	}
	v.Set(dict)
	return nil
}

// splitList cuts at commas; blanks around an item and empty items are dropped.
func splitList(text string) []string {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return slices.DeleteFunc(items, func(s string) bool { return s == "" })
}
