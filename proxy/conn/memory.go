package conn

import "sync"

// memory lends buffers of three sizes to all goroutines.
type memory struct {
	small  sync.Pool // *[8 KiB]
	medium sync.Pool // *[32 KiB]
	large  sync.Pool // *[64 KiB]
}

const (
	smallSize  = 8 << 10
	mediumSize = 32 << 10
	largeSize  = 64 << 10
)

// Get returns a buffer of at least size bytes.
func (m *memory) Get(size int) []byte {
	switch {
	case size <= smallSize:
		if b, ok := m.small.Get().(*[smallSize]byte); ok {
			return b[:]
		}
		return new([smallSize]byte)[:]
	case size <= mediumSize:
		if b, ok := m.medium.Get().(*[mediumSize]byte); ok {
			return b[:]
		}
		return new([mediumSize]byte)[:]
	case size <= largeSize:
		if b, ok := m.large.Get().(*[largeSize]byte); ok {
			return b[:]
		}
		return new([largeSize]byte)[:]
	}
	return make([]byte, size)
}

// Put takes a buffer back; one of another size goes to the garbage collector.
func (m *memory) Put(b []byte) {
	switch cap(b) {
	case smallSize:
		m.small.Put((*[smallSize]byte)(b[:smallSize]))
	case mediumSize:
		m.medium.Put((*[mediumSize]byte)(b[:mediumSize]))
	case largeSize:
		m.large.Put((*[largeSize]byte)(b[:largeSize]))
	}
}
