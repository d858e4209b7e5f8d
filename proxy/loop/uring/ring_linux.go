package uring

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"portico/proxy/loop/socket"
)

// Ring is an io_uring that only gathers system calls: sends or receives are queued, handed to the kernel together, and have all ended when
// that returns, because none of them may wait. Nothing is ever left in flight, so no buffer outlives a call.
type Ring struct {
	FD int32 // the kernel's descriptor of it

	sqes   []ringEntry
	tail   uint32  // of the submissions, as we have filled them
	sqHead *uint32 // shared with the kernel
	sqTail *uint32
	cqHead *uint32
	cqTail *uint32
	mask   uint32 // of the completions
	cqes   []completion
	rings  []byte // the mappings
	slots  []byte
}

// What the kernel's headers call these (linux/io_uring.h).
const (
	sysSetup = 425 // io_uring_setup and io_uring_enter: the same numbers on every architecture
	sysEnter = 426

	setupSubmitAll = 1 << 7 // Linux 5.18: one bad entry does not end the submission
	featSingleMap  = 1 << 0
	featNoDrop     = 1 << 1
	offsetSlots    = 0x10000000
	enterGetEvents = 1 << 0
	noWait         = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL
)

// What a [Ring] can do (IORING_OP_SEND and IORING_OP_RECV).
const (
	Send    = 26
	Receive = 27
)

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wq uint32
	_                                                                [3]uint32
	sq                                                               struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// ringEntry is struct io_uring_sqe as a send or receive uses it.
type ringEntry struct {
	op, flags uint8
	prio      uint16
	fd        int32
	off       uint64
	addr      uint64
	size      uint32
	msgFlags  uint32
	data      uint64
	_         [24]byte
}

// completion is struct io_uring_cqe.
type completion struct {
	data  uint64
	res   int32
	flags uint32
}

// New makes one with room for n entries, a power of two. It fails where the kernel has none, or where a container's or service's
// filter of system calls forbids it.
func New(n uint32) (*Ring, error) {
	p := uringParams{flags: setupSubmitAll}
	fd, _, e := syscall.RawSyscall(sysSetup, uintptr(n), uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil, e
	}
	u := &Ring{FD: int32(fd)}
	if p.features&featSingleMap == 0 || p.features&featNoDrop == 0 {
		u.Close()
		return nil, syscall.ENOSYS
	}
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(completion{})))
	var err error
	if u.rings, err = syscall.Mmap(int(u.FD), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_POPULATE); err == nil {
		u.slots, err = syscall.Mmap(int(u.FD), offsetSlots, int(p.sqEntries)*int(unsafe.Sizeof(ringEntry{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	}
	if err != nil {
		u.Close()
		return nil, err
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.rings[off])) }
	u.sqHead, u.sqTail, u.cqHead, u.cqTail = at(p.sq.head), at(p.sq.tail), at(p.cq.head), at(p.cq.tail)
	u.sqes = unsafe.Slice((*ringEntry)(unsafe.Pointer(&u.slots[0])), p.sqEntries)
	u.cqes = unsafe.Slice((*completion)(unsafe.Pointer(&u.rings[p.cq.cqes])), p.cqEntries)
	u.mask = *at(p.cq.mask)
	u.tail = *u.sqTail
	for i := range p.sqEntries { // entry i is always in slot i
		*at(p.sq.array + 4*i) = i
	}
	return u, nil
}

// Queue adds a send of b, or a receive into it; data tells its completion from others. b must stay as it is until submit has returned.
func (u *Ring) Queue(op uint8, fd int32, b []byte, data uint64) {
	e := &u.sqes[u.tail&uint32(len(u.sqes)-1)]
	*e = ringEntry{op: op, fd: fd, addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), size: uint32(len(b)), msgFlags: noWait, data: data}
	u.tail++
}

// Submit does the n that were queued since the last time, and calls done for each with what a system call would have returned: bytes, or
// the negative of an errno. It reports false when the kernel did not take them all; done was not called for the others then, and the
// ring is of no more use.
func (u *Ring) Submit(n uint32, done func(data uint64, res int32)) bool {
	atomic.StoreUint32(u.sqTail, u.tail)
	took, _, e := syscall.RawSyscall6(sysEnter, uintptr(u.FD), uintptr(n), 0, 0, 0, 0)
	if e != 0 {
		took = 0
	}
	for left := uint32(took); ; {
		head, tail := *u.cqHead, atomic.LoadUint32(u.cqTail)
		for ; head != tail; head++ {
			c := u.cqes[head&u.mask]
			atomic.StoreUint32(u.cqHead, head+1)
			done(c.data, c.res)
			left--
		}
		if left == 0 {
			return uint32(took) == n
		}
		// Not seen, but nothing forbids it: a completion that comes later.
		_, _, _ = syscall.Syscall6(sysEnter, uintptr(u.FD), 0, uintptr(left), enterGetEvents, 0, 0)
	}
}

// Close gives the ring back to the kernel.
func (u *Ring) Close() {
	if u.rings != nil {
		_ = syscall.Munmap(u.rings)
	}
	if u.slots != nil {
		_ = syscall.Munmap(u.slots)
	}
	socket.Close(u.FD)
}
