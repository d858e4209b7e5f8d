package loop

// memory lends buffers of three sizes to the exchanges of one loop. Nothing is locked: only the loop uses it. The last returned is
// lent first, because it is still in the processor's cache.
type memory struct {
	free [3][][]byte
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
		list := m.free[i]
		if n := len(list); n > 0 {
			b := list[n-1]
			m.free[i] = list[:n-1]
			return b
		}
		return make([]byte, s)
	}
	return make([]byte, size)
}

// Put takes a buffer back.
func (m *memory) Put(b []byte) {
	for i, s := range sizes {
		if cap(b) == s && len(m.free[i]) < keptBuffers[i] {
			m.free[i] = append(m.free[i], b[:s])
			return
		}
	}
}
