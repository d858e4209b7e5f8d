package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong, with its place.
type Mistake struct {
	Source  string // file name, environment variable or flag; empty: not known
	Line    int    // from 1; 0: the source has no lines
	Column  int    // from 1
	Length  int    // how many bytes the caret underlines
	Text    string // the line itself
	Key     string // dotted path, "proxy.http"
	Message string // what is wrong, and what would be right
}

// String formats m as compilers do, the place first, then the line with a
// caret under the fault.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Source != "" {
		b.WriteString(printable(m.Source))
		if m.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(printable(m.Message))
	if m.Line > 0 && m.Text != "" {
		gutter := fmt.Sprintf("%5d | ", m.Line)
		column := min(max(m.Column-1, 0), len(m.Text))
		indent := strings.Map(blank, m.Text[:column])
		carets := min(max(m.Length, 1), max(len(m.Text)-column, 1))
		fmt.Fprintf(&b, "\n%s%s\n%s%s%s", gutter, printable(m.Text),
			strings.Repeat(" ", len(gutter)-2)+"| ", indent, strings.Repeat("^", carets))
	}
	return b.String()
}

// blank keeps tabs, so that the caret stands under its letter.
func blank(r rune) rune {
	if r == '\t' {
		return r
	}
	return ' '
}

// printable keeps what a file says from steering the terminal that shows it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// Mistakes is the error of a configuration that was refused: all that is wrong
// with it, in the order of the file.
type Mistakes []Mistake

// Error lists every mistake, one after the other.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns m in reading order: what has a line by line, then the rest.
func (m Mistakes) sorted() Mistakes {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		if (a.Line > 0) != (b.Line > 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Source, b.Source))
	})
	return m
}

// orNil returns m as an error, nil when nothing is wrong.
func (m Mistakes) orNil() error {
	if len(m) == 0 {
		return nil
	}
	return m.sorted()
}

// Locate gives mistakes that were found in the values of the document data their places there, by
// their keys, and puts them in reading order behind before, what Decode refused. What is said of a setting that was
// refused before is left out: its value is not what somebody wrote. Mistakes with a source of
// their own keep it.
func Locate(name string, data []byte, before, found Mistakes) Mistakes {
	all := slices.Clone(before)
	doc, err := parse(name, data)
	if err != nil {
		return append(all, found...)
	}
	for _, m := range found {
		if m.Source != "" {
			all = append(all, m)
			continue
		}
		all = append(all, located(Mistakes{m}, before, doc, nil)...)
	}
	return all.sorted()
}
