package http2

import (
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// TestIdleMemory: a connection that rests after a few requests of a browser holds its tables and little else.
func TestIdleMemory(t *testing.T) {
	const conns = 200
	all := make([]small, conns)
	var before, after runtime.MemStats
	w := newScript()
	hello := w.hello().take()
	rounds := requests(w, 1, 3, nil)
	mem, conf := &lender{}, defaults()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range all {
		s := &all[i]
		s.c.Begin(conf, mem, int64(time.Second))
		s.feed(hello)
		for _, b := range rounds {
			s.feed(b)
		}
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if mem.lent != 0 {
		t.Errorf("%d bytes are lent", mem.lent)
	}
	conn := int(unsafe.Sizeof(Conn{}))
	tables := int(after.HeapAlloc-before.HeapAlloc) / conns
	t.Logf("a Conn takes %d bytes, its tables %d", conn, tables)
	if conn > 1024 || tables > 2048 {
		t.Errorf("a connection that rests takes %d bytes and its tables %d", conn, tables)
	}
	runtime.KeepAlive(all)
}
