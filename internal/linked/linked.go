// Package linked is lists whose links lie in what they list: who enters or leaves takes no memory and is not searched for.
package linked

// List is some elements in order. The zero value is empty. It is not safe for concurrent use.
type List[T any] struct{ first, last *Link[T] }

// Link is an element's place in a List, and lies in the element. The zero value is in none.
type Link[T any] struct {
	of         *T // nil: in no list
	prev, next *Link[T]
}

// PushBack makes of, whose link k is and which is in no list, the last.
func (l *List[T]) PushBack(k *Link[T], of *T) {
	k.of, k.prev = of, l.last
	if l.last != nil {
		l.last.next = k
	} else {
		l.first = k
	}
	l.last = k
}

// Remove takes out the element whose link k is and which is in this list.
func (l *List[T]) Remove(k *Link[T]) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.last = k.prev
	}
	*k = Link[T]{}
}

// First returns the first element, nil: there is none.
func (l *List[T]) First() *T { return l.first.element() }

// Last returns the last element, nil: there is none.
func (l *List[T]) Last() *T { return l.last.element() }

// Next returns the element behind this one, nil: there is none.
func (k *Link[T]) Next() *T { return k.next.element() }

// Linked reports whether the element is in a list.
func (k *Link[T]) Linked() bool { return k.of != nil }

func (k *Link[T]) element() *T {
	if k == nil {
		return nil
	}
	return k.of
}
