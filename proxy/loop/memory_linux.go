package loop

// memory lends buffers of three sizes to the exchanges of one loop. Nothing is locked: only the loop uses it. The last returned is
// lent first, because it is still in the processor's cache.
type memory struct {
	free [3]spares[[]byte]
}

//nolint:gochecknoglobals // constants
var (
	sizes       = [3]int{8 << 10, 32 << 10, 64 << 10}
	keptBuffers = [3]int{1024, 512, 256} // of each size, and sessions as many as of the first; more go back to the garbage collector
)

// Get returns a buffer of at least size bytes.
func (m *memory) Get(size int) []byte {
	for i, s := range sizes {
		if size > s {
			continue
		}
		if b, ok := m.free[i].take(); ok {
			return b
		}
		return make([]byte, s)
	}
	return make([]byte, size)
}

// Put takes a buffer back.
func (m *memory) Put(b []byte) {
	for i, s := range sizes {
		if cap(b) == s {
			m.free[i].keep(b[:s], keptBuffers[i])
			return
		}
	}
}

// trim gives back what was not needed lately.
func (m *memory) trim() {
	for i := range m.free {
		m.free[i].trim()
	}
}

// rich reports whether there is something that trim could give back in the end.
func (m *memory) rich() bool { return m.free[0].rich() || m.free[1].rich() || m.free[2].rich() }

// keptSpares are kept however long nobody needs them.
const keptSpares = 16

// spares are things that wait for the next one who needs them.
type spares[T any] struct {
	list  []T
	least int // how many there have been at least since the last trim: nobody needed these
}

// take returns the one that came last.
func (s *spares[T]) take() (x T, ok bool) {
	n := len(s.list)
	if n == 0 {
		return x, false
	}
	x, s.list[n-1] = s.list[n-1], x
	s.list = s.list[:n-1]
	s.least = min(s.least, n-1)
	return x, true
}

// keep takes one in, unless there are so many.
func (s *spares[T]) keep(x T, most int) {
	if len(s.list) < most {
		s.list = append(s.list, x)
	}
}

func (s *spares[T]) rich() bool { return len(s.list) > keptSpares }

// trim leaves to the garbage collector half of those that nobody has needed since the last time.
func (s *spares[T]) trim() {
	drop := (min(s.least, len(s.list)-keptSpares) + 1) / 2
	if drop > 0 {
		rest := s.list[drop:] // the oldest go
		s.list = append(make([]T, 0, len(rest)), rest...)
	}
	s.least = len(s.list)
}
