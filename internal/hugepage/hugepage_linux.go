package hugepage

import (
	"syscall"
	"unsafe"
)

// Advise asks for large pages (MADV_HUGEPAGE) for those that lie wholly in b, which should not have
// been written to yet. It is a hint: where they are switched off, or there are none, all
// stays as it was. What it asks for lasts longer than b, as a property of the addresses.
func Advise(b []byte) {
	begin := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Size - 1) // to the first border of pages
	if n := len(b); uintptr(n) >= begin+Size {
		whole := (uintptr(n) - begin) &^ (Size - 1)
		_ = syscall.Madvise(b[begin:begin+whole], syscall.MADV_HUGEPAGE)
	}
}
