package conf

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"portico/internal/nearest"
)

// Decode reads the TOML document data into the struct that into points to, by
// the fields' toml tags. Fields that the document does not name keep their
// value. It is strict: unknown keys and values of the wrong type are refused,
// all in one go. The error is a Mistakes; name is the file it names.
func Decode(name string, data []byte, into any) error {
	_, mistakes := decode(name, data, into)
	return mistakes.orNil()
}

// decode is Decode that also returns the document, for the places of mistakes
// that are found later; the document is nil after a fault of syntax.
func decode(name string, data []byte, into any) (*document, Mistakes) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("BUG: conf.Decode into %T, want a pointer to a struct", into))
	}
	doc, err := parse(name, data)
	if err != nil {
		return nil, err.(Mistakes)
	}
	d := decoder{doc: doc, root: target.Elem().Type(), fields: map[reflect.Type]map[string][]int{}}
	d.table("", doc.values, target.Elem())
	return doc, d.mistakes
}

// decoder lays values over a struct and collects what does not fit.
type decoder struct {
	doc      *document
	root     reflect.Type
	fields   map[reflect.Type]map[string][]int // of the structs met so far: a file may have a struct thousands of times
	mistakes Mistakes
}

func (d *decoder) wrong(path, format string, args ...any) {
	d.mistakes = append(d.mistakes, d.doc.mistake(path, fmt.Sprintf(format, args...)))
}

func (d *decoder) table(path string, values map[string]any, into reflect.Value) {
	fields := d.fields[into.Type()]
	if fields == nil {
		fields = fieldsOf(into.Type())
		d.fields[into.Type()] = fields
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		i, known := fields[key]
		if !known {
			d.mistakes = append(d.mistakes, d.doc.keyMistake(join(path, key), d.unknown(path, key, fields)))
			continue
		}
		d.value(join(path, key), values[key], into.FieldByIndex(i))
	}
}

// unknown words the refusal of a key: with the nearest name in the same table,
// else with the table that has it.
func (d *decoder) unknown(path, key string, fields map[string][]int) string {
	where := "at the top"
	if path != "" {
		where = "in " + header(path)
	}
	message := fmt.Sprintf("unknown key %q %s", key, where)
	if near, ok := nearest.Word(key, slices.Collect(maps.Keys(fields))); ok {
		return message + fmt.Sprintf(": did you mean %q?", near)
	}
	if tables := tablesWith(d.root, "", key); len(tables) > 0 {
		return message + ": it belongs in " + strings.Join(tables, " or ")
	}
	return message + ": known are " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

func (d *decoder) value(path string, v any, into reflect.Value) {
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, v, text)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		if t, ok := v.(map[string]any); ok {
			d.table(path, t, into)
			return
		}
		d.wrong(path, "%s is a table: write %s and its keys below", last(path), header(path))
	case reflect.Slice:
		d.list(path, v, into)
	case reflect.Map:
		d.dictionary(path, v, into)
	default:
		d.scalar(path, v, into)
	}
}

func (d *decoder) text(path string, v any, into encoding.TextUnmarshaler) {
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case int64:
		s = strconv.FormatInt(v, 10)
	default:
		d.wrong(path, "%s is %s: write text in quotes", last(path), describe(v))
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		d.wrong(path, "%s: %v", last(path), err)
	}
}

func (d *decoder) list(path string, v any, into reflect.Value) {
	items, ok := v.([]any)
	if !ok {
		if into.Type().Elem().Kind() == reflect.Struct {
			d.wrong(path, "%s is a list of tables: write %s with two brackets", last(path), header(path+"[0]"))
			return
		}
		d.wrong(path, "%s is %s: write a list, %s = [%s]", last(path), describe(v), last(path), literal(v))
		return
	}
	list := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		d.value(index(path, i), item, list.Index(i))
	}
	into.Set(list)
}

func (d *decoder) dictionary(path string, v any, into reflect.Value) {
	values, ok := v.(map[string]any)
	if !ok {
		d.wrong(path, "%s is a table: write %s and its keys below", last(path), header(path))
		return
	}
	dict := reflect.MakeMapWithSize(into.Type(), len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		item := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, key), values[key], item)
		dict.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), item)
	}
	into.Set(dict)
}

func (d *decoder) scalar(path string, v any, into reflect.Value) {
	switch into.Kind() {
	case reflect.String:
		if s, ok := v.(string); ok {
			into.SetString(s)
			return
		}
		d.wrong(path, "%s is %s: write text in quotes", last(path), describe(v))
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			into.SetBool(b)
			return
		}
		d.wrong(path, "%s is %s: write true or false, without quotes", last(path), describe(v))
	case reflect.Int, reflect.Int64:
		if n, ok := v.(int64); ok && n >= math.MinInt32 && (n <= math.MaxInt32 || into.Kind() == reflect.Int64) {
			into.SetInt(n)
			return
		}
		d.wrong(path, "%s is %s: write a whole number, without quotes", last(path), describe(v))
	case reflect.Float64:
		switch n := v.(type) {
		case float64:
			if math.IsNaN(n) || math.IsInf(n, 0) { // JSON, in which settings travel, has none
				d.wrong(path, "%s is %v: write a number, such as 1.5", last(path), n)
				return
			}
			into.SetFloat(n)
			return
		case int64:
			into.SetFloat(float64(n))
			return
		}
		d.wrong(path, "%s is %s: write a number, without quotes", last(path), describe(v))
	default:
		panic(fmt.Sprintf("BUG: conf cannot decode into %s at %s", into.Type(), path))
	}
}

// settingsOf returns the fields of a struct that have keys, in their order, those of an embedded
// struct among them.
func settingsOf(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return keyOf(f) == "" })
}

// fieldsOf returns the keys of a struct and the fields they lead to.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := make(map[string][]int, t.NumField())
	for _, f := range settingsOf(t) {
		fields[keyOf(f)] = f.Index
	}
	return fields
}

// keyOf returns the key of a field, empty when it has none.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	switch {
	case !f.IsExported() || name == "-", name == "" && f.Anonymous:
		return ""
	case name == "":
		return strings.ToLower(f.Name)
	}
	return name
}

// tablesWith returns the tables of t, as headers, that have key.
func tablesWith(t reflect.Type, path, key string) []string {
	var found []string
	for _, f := range settingsOf(t) {
		name := keyOf(f)
		ft, header := f.Type, "[%s]"
		if ft.Kind() == reflect.Slice {
			ft, header = ft.Elem(), "[[%s]]"
		}
		if ft.Kind() != reflect.Struct {
			continue
		}
		here := join(path, name)
		if _, ok := fieldsOf(ft)[key]; ok {
			found = append(found, fmt.Sprintf(header, here))
		}
		found = append(found, tablesWith(ft, here, key)...)
	}
	return found
}

// last returns the last key of a path, for messages whose place is shown.
func last(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 && i+1 < len(path) {
		return path[i+1:]
	}
	return path
}

// describe names a value's type and, where it is short, the value.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the text %q", clip(v))
	case bool:
		return fmt.Sprintf("the truth value %t", v)
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

// literal writes v as it would stand in a list.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(clip(v))
	case bool, int64, float64:
		return fmt.Sprint(v)
	}
	return "…"
}

// clip keeps a quoted value from filling the screen.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
