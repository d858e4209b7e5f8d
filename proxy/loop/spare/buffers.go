package spare

// Buffers lends buffers of three sizes to the exchanges of one loop. Nothing is locked: only the loop uses it. The last returned is
// lent first, because it is still in the processor's cache.
type Buffers struct {
	free [3]List[[]byte]
}

var (
	sizes       = [3]int{8 << 10, 32 << 10, 64 << 10}
	keptBuffers = [3]int{1024, 512, 256} // of each size; more go back to the garbage collector
)

// Get returns a buffer of at least size bytes.
func (m *Buffers) Get(size int) []byte {
	for i, s := range sizes {
		if size > s {
			continue
		}
		if b, ok := m.free[i].Take(); ok {
			return b
		}
		return make([]byte, s)
	}
	return make([]byte, size)
}

// Put takes a buffer back.
func (m *Buffers) Put(b []byte) {
	for i, s := range sizes {
		if cap(b) == s {
			m.free[i].Keep(b[:s], keptBuffers[i])
			return
		}
	}
}

// Trim gives back what was not needed lately.
func (m *Buffers) Trim() {
	for i := range m.free {
		m.free[i].Trim()
	}
}

// Rich reports whether there is something that trim could give back in the end.
func (m *Buffers) Rich() bool { return m.free[0].Rich() || m.free[1].Rich() || m.free[2].Rich() }

// keptSpares are kept however long nobody needs them.
const keptSpares = 16

// List are things that wait for the next one who needs them.
type List[T any] struct {
	list  []T
	least int // how many there have been at least since the last trim: nobody needed these
}

// Take returns the one that came last.
func (s *List[T]) Take() (x T, ok bool) {
	n := len(s.list)
	if n == 0 {
		return x, false
	}
	x, s.list[n-1] = s.list[n-1], x
	s.list = s.list[:n-1]
	s.least = min(s.least, n-1)
	return x, true
}

// Keep takes one in, unless there are so many.
func (s *List[T]) Keep(x T, most int) {
	if len(s.list) < most {
		s.list = append(s.list, x)
	}
}

// Rich reports whether there is something that Trim could give back in the end.
func (s *List[T]) Rich() bool { return len(s.list) > keptSpares }

// Trim leaves to the garbage collector half of those that nobody has needed since the last time.
func (s *List[T]) Trim() {
	drop := (min(s.least, len(s.list)-keptSpares) + 1) / 2
	if drop > 0 {
		rest := s.list[drop:] // the oldest go
		s.list = append(make([]T, 0, len(rest)), rest...)
	}
	s.least = len(s.list)
}
