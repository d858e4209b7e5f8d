package conf

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a parsed file: its values, and where each of them stands.
type document struct {
	name   string
	data   []byte
	values map[string]any
	keys   map[string]place // where a path's key stands; paths as join makes them; nil: nobody has asked yet, see locate
	places map[string]place // where its value stands, or else its key
	tables map[string]int   // how many elements an array of tables has so far; a path counts its own below each element
}

// place is a stretch of the file.
type place struct{ offset, length int }

// maxDocument bounds a file, so that a mistaken path (a core dump, a device)
// is an error and not a full memory.
const maxDocument = 4 << 20

// parse reads TOML. Its error is a Mistakes with one entry: after a fault of
// syntax nothing can be said about the rest.
func parse(name string, data []byte) (*document, error) {
	if len(data) > maxDocument {
		return nil, Mistakes{{Source: name, Message: fmt.Sprintf("is %d bytes long: a configuration has at most %d", len(data), maxDocument)}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // Notepad's byte order mark
	d := &document{name: name, data: data}
	if err := toml.Unmarshal(data, &d.values); err != nil {
		return nil, Mistakes{d.syntax(err)}
	}
	return d, nil
}

func (d *document) syntax(err error) Mistake {
	m := Mistake{Source: d.name, Message: strings.TrimPrefix(err.Error(), "toml: ")}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		m.Line, m.Column = at.Position()
		m.Length = 1
		m.Text = d.line(m.Line)
	}
	return m
}

// locate walks the syntax tree for the places of keys and values, once. A file without mistakes is never asked for
// them, and they take longer than all the rest of reading it.
func (d *document) locate() {
	if d.keys != nil {
		return
	}
	d.keys, d.places, d.tables = map[string]place{}, map[string]place{}, map[string]int{}
	var p unstable.Parser
	p.Reset(d.data)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = d.header(e)
		case unstable.KeyValue:
			d.keyValue(table, e)
		}
	}
}

// header notes the place of [a.b] or [[a.b]] and returns its path.
func (d *document) header(e *unstable.Node) string {
	path := ""
	for it := e.Key(); it.Next(); {
		path = join(path, string(it.Node().Data))
		last := it.IsLast()
		if n := d.tables[path]; n > 0 && !last {
			path = index(path, n-1)
		}
		if last && e.Kind == unstable.ArrayTable {
			n := d.tables[path]
			d.tables[path] = n + 1
			d.noteOnce(path, it.Node())
			path = index(path, n)
		}
		d.noteOnce(path, it.Node())
	}
	return path
}

func (d *document) keyValue(table string, e *unstable.Node) {
	path := table
	var key *unstable.Node
	for it := e.Key(); it.Next(); {
		key = it.Node()
		path = join(path, string(key.Data))
		d.noteOnce(path, key)
	}
	d.note(path, key, e.Value())
	d.value(path, key, e.Value())
}

// value descends into lists and inline tables.
func (d *document) value(path string, key, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				d.keyValue(path, it.Node())
			}
		}
	case unstable.Array:
		n := 0
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			d.note(index(path, n), key, it.Node())
			d.value(index(path, n), key, it.Node())
			n++
		}
	}
}

// noteOnce remembers where a key or header was seen first: [proxy.limits] does
// not move the place of [proxy].
func (d *document) noteOnce(path string, key *unstable.Node) {
	if _, known := d.keys[path]; !known {
		d.keys[path] = place{int(key.Raw.Offset), int(key.Raw.Length)}
		d.places[path] = d.keys[path]
	}
}

// note remembers where a value stands, at its key when the parser does not
// tell.
func (d *document) note(path string, key, value *unstable.Node) {
	d.places[path] = place{int(key.Raw.Offset), int(key.Raw.Length)}
	if value.Raw.Length > 0 && value.Kind != unstable.InlineTable && value.Kind != unstable.Array {
		d.places[path] = place{int(value.Raw.Offset), int(value.Raw.Length)}
	}
}

// mistake returns a Mistake at the value of path, or at the nearest table
// around it.
func (d *document) mistake(path, message string) Mistake {
	d.locate()
	at, ok := d.places[path]
	for p := path; !ok && p != ""; at, ok = d.places[p] {
		p = parent(p)
	}
	return d.at(at, ok, path, message)
}

// keyMistake returns a Mistake at the key of path.
func (d *document) keyMistake(path, message string) Mistake {
	d.locate()
	at, ok := d.keys[path]
	return d.at(at, ok, path, message)
}

func (d *document) at(at place, known bool, path, message string) Mistake {
	m := Mistake{Source: d.name, Key: path, Message: message}
	if !known || at.offset > len(d.data) {
		return m
	}
	m.Line = 1 + bytes.Count(d.data[:at.offset], []byte("\n"))
	m.Column = at.offset - bytes.LastIndexByte(d.data[:at.offset], '\n')
	m.Length = at.length
	m.Text = d.line(m.Line)
	return m
}

// line returns the text of line n, counted from 1, without its end.
func (d *document) line(n int) string {
	rest := d.data
	for ; n > 1; n-- {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return ""
		}
		rest = rest[i+1:]
	}
	text, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.TrimRight(string(text[:min(len(text), 200)]), "\r")
}

// join appends a key to a path. A key that is not bare is quoted, so that a
// path names one place only.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]\" ") || key == "" {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, n int) string { return path + "[" + strconv.Itoa(n) + "]" }

// header writes a path as it stands in a file: [proxy.limits], or
// [[site.upstream]] for an element of a list of tables.
func header(path string) string {
	plain := indexes.ReplaceAllString(path, "")
	if strings.HasSuffix(path, "]") {
		return "[[" + plain + "]]"
	}
	return "[" + plain + "]"
}

var indexes = regexp.MustCompile(`\[[0-9]+\]`)

// parent cuts the last key or index off a path.
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}
