package linked_test

import (
	"slices"
	"testing"

	"portico/internal/linked"
)

type element struct {
	name string
	link linked.Link[element]
}

func names(l *linked.List[element]) (list []string) {
	for e := l.First(); e != nil; e = e.link.Next() {
		list = append(list, e.name)
	}
	return list
}

func TestList(t *testing.T) {
	var l linked.List[element]
	if l.First() != nil || l.Last() != nil {
		t.Error("an empty list has an element")
	}
	a, b, c := &element{name: "a"}, &element{name: "b"}, &element{name: "c"}
	for _, e := range []*element{a, b, c} {
		l.PushBack(&e.link, e)
	}
	for _, step := range []struct {
		out  *element
		want []string
	}{{b, []string{"a", "c"}}, {a, []string{"c"}}, {c, nil}} {
		l.Remove(&step.out.link)
		if got := names(&l); !slices.Equal(got, step.want) || step.out.link.Linked() {
			t.Errorf("without %s: %q, want %q", step.out.name, got, step.want)
		}
	}
	l.PushBack(&b.link, b)
	l.PushBack(&a.link, a)
	if got := names(&l); !slices.Equal(got, []string{"b", "a"}) || l.Last() != a || !a.link.Linked() {
		t.Errorf("again: %q", got)
	}
}
