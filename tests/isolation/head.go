package isolation

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
)

// head is a message's head as it arrives.
type head struct {
	first  string
	fields map[string]string // by lower-case name; the last one of several
	raw    string
}

// readHead reads to the empty line. What came before an end goes with the error.
func readHead(r *bufio.Reader) (*head, error) {
	h := &head{fields: map[string]string{}}
	for {
		line, err := r.ReadString('\n')
		h.raw += line
		if err != nil {
			return h, err
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		switch {
		case !ok, len(h.raw) > 64<<10:
			return h, foreignf("no head: %.300q (%s)", h.raw, claim([]byte(h.raw)))
		case text == "":
			return h, nil
		case h.first == "":
			h.first = text
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return h, foreignf("no field: %.300q (%s)", text, claim([]byte(text)))
		}
		h.fields[strings.ToLower(name)] = strings.TrimSpace(value)
	}
}

// body is how the head says that its body ends.
func (h *head) body(r *bufio.Reader, owner mark, most int64) *body {
	b := &body{r: r, owner: owner, most: most}
	switch n, has := h.fields["content-length"]; {
	case strings.Contains(h.fields["transfer-encoding"], "chunked"):
		b.kind = byChunks
	case has:
		b.kind = byLength
		b.left, _ = strconv.ParseInt(n, 10, 63)
	default:
		b.whole = true
	}
	return b
}

// marked checks the fields that say whose they are.
func (h *head) marked(owner mark, known map[string]bool) error {
	for name, value := range h.fields {
		switch {
		case name == "x-mark" && value != owner.String():
			m, _ := named(value)
			return &foreign{fmt.Sprintf("X-Mark: %.200q, of the %s, in a head of the %s", value, m.owner(), owner.owner()), m}
		case name == "x-fill" || name == "x-gap":
			if i := owner.differ([]byte(value), 0); i >= 0 {
				return foreignf("%s of the %s is %s from byte %d: %.200q", name, owner.owner(), claim([]byte(value)[i:]), i, value[i:])
			}
		case name != "x-mark" && !known[name]:
			return foreignf("field %s: %.200q in a head of the %s: %.500q", name, value, owner.owner(), h.raw)
		}
	}
	return nil
}

// set makes a set of words.
func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
