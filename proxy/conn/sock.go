package conn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portico/internal/unsent"
	"portico/proxy/wire"
)

// sock reads and writes one connection, with raw system calls where the platform and the connection allow it. Reading and writing may
// happen in two goroutines.
type sock struct {
	conn     net.Conn
	raw      syscall.RawConn // nil: through conn
	fd       uintptr         // with raw: it stays ours, because only who uses the connection closes it
	tells    bool            // the kernel says with every raw read what it leaves behind
	more     bool            // the last raw read left bytes or their end behind, or may have: what is there already makes no event
	shared   bool            // another goroutine may close the connection meanwhile: its descriptor may be used through raw only
	waited   bool            // the last write did not succeed at once
	start    time.Time       // of the server's clock, which the deadlines are told in; 0: none
	readTo   int64           // the deadline that is set
	want     int64           // the one that is meant; later than readTo, it is set when readTo has passed
	writeTo  int64
	timedOut bool
	lane     *lane       // the client is a stream: nil conn but for its addresses; nil: it has a connection
	ends     bool        // the stream ends with the next write
	trailers []byte      // or with these; nil: none
	steady   *steady     // below TLS; nil: plain
	halted   atomic.Bool // for steady
	reset    atomic.Bool // the system has told of a reset, which it does once: an end that is read now is none in order
	telling  sync.Mutex  // held from a write without TLS that another goroutine may read beside until reset says what it was told
	hurried  atomic.Bool // the write deadline is not writeTo, but past

	// For the callbacks, which are made once: a closure for every read would allocate.
	readFn, writeFn func(fd uintptr) bool
	readBuf         []byte
	readN           int
	readErr         error
	head, body      []byte
	wroteN          int
	wroteErr        error
}

func (k *sock) init(c net.Conn, raw bool, start time.Time) {
	k.conn, k.start = c, start
	if t, ok := c.(*tls.Conn); ok {
		k.steady, _ = t.NetConn().(*steady)
	}
	if !raw {
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		k.raw, _ = t.SyscallConn()
		if k.raw != nil && k.raw.Control(func(fd uintptr) { k.fd = fd }) != nil {
			k.raw = nil
		}
		k.readFn, k.writeFn = k.tryRead, k.tryWrite
	}
}

// tell has the kernel say with every read whether it leaves something behind, for a tenth of a microsecond each. Who reads in a wait
// that has begun before needs it, or would wait for an end that came together with the last bytes.
func (k *sock) tell() {
	if k.raw != nil {
		tellMore(k.fd)
		k.tells = true
	}
}

// readBy sets the read deadline. A later one than is set costs nothing: it is set when the earlier one has passed.
func (k *sock) readBy(t int64) {
	k.want = t
	if k.lane != nil {
		return
	}
	if k.readTo == 0 || t < k.readTo {
		k.again()
	}
}

// early reports whether the deadline that has passed is not the one that is meant.
func (k *sock) early() bool { return k.readTo < k.want }

// again sets the deadline that is meant.
func (k *sock) again() {
	if k.lane != nil {
		return
	}
	k.readTo = k.want
	_ = k.conn.SetReadDeadline(k.at(k.want))
}

// halt ends a wait in another goroutine, and every other until resume.
func (k *sock) halt() {
	if k.lane != nil {
		k.lane.halt(true)
		return
	}
	k.halted.Store(true)
	_ = k.conn.SetDeadline(time.Unix(1, 0))
}

// resume takes halt back, and all deadlines.
func (k *sock) resume() {
	if k.lane != nil {
		k.lane.halt(false)
		return
	}
	k.halted.Store(false)
	_ = k.conn.SetDeadline(time.Time{})
	k.readTo, k.writeTo = 0, 0
}

// writeBy sets the write deadline; 0: none. One that is set already may end a write by a second too soon.
func (k *sock) writeBy(t int64) {
	if k.lane != nil {
		k.writeTo = t
		return
	}
	late := t - k.writeTo
	near := t == k.writeTo || k.writeTo != 0 && late >= 0 && late <= int64(time.Second)
	if !k.hurried.Swap(false) && near {
		return
	}
	k.writeTo = t
	_ = k.conn.SetWriteDeadline(k.at(t))
}

// at turns a time of the server's clock into one for deadlines.
func (k *sock) at(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return k.start.Add(time.Duration(t))
}

// tryRead is the callback of a raw read; false waits for the connection to be readable.
func (k *sock) tryRead(fd uintptr) bool {
	k.readN, k.readErr = k.receive(fd, k.readBuf)
	return !errors.Is(k.readErr, errAgain)
}

// receive reads once, and notes whether more may be there.
func (k *sock) receive(fd uintptr, b []byte) (n int, err error) {
	if k.tells {
		n, k.more, err = sysReadTold(fd, b)
		return n, err
	}
	n, err = sysRead(fd, b)
	k.more = n == len(b)
	return n, err
}

// read blocks until there are bytes.
func (k *sock) read(b []byte) (int, wire.Result) {
	k.timedOut = false
	if len(b) == 0 {
		return 0, wire.Failed
	}
	if k.lane != nil {
		n, res := k.lane.read(b, k.want)
		k.timedOut = n == 0 && res == wire.Blocked
		return n, res
	}
	var n int
	var err error
	if k.raw != nil {
		k.readBuf, k.readErr = b, nil
		err = k.raw.Read(k.readFn)
		k.readBuf = nil
		if err == nil {
			n, err = k.readN, ended(k.readN, k.readErr)
		}
	} else {
		n, err = k.conn.Read(b)
	}
	return k.outcome(n, err)
}

// ended makes an end of what read nothing without an error.
func ended(n int, err error) error {
	if n == 0 && err == nil {
		return io.EOF
	}
	return err
}

func (k *sock) outcome(n int, err error) (int, wire.Result) {
	switch {
	case err == nil:
		return n, wire.More
	case errors.Is(err, io.EOF) && !k.cut():
		return n, wire.EOF
	case isTimeout(err):
		k.timedOut = true
		return n, wire.Blocked
	}
	return n, wire.Failed
}

// broke notes the error of a write, for those who read. EPIPE says that an end came before the reset, and that was in order.
func (k *sock) broke(err error) {
	if err != nil && err != errAgain && !isTimeout(err) && !errors.Is(err, syscall.EPIPE) { // our own value
		k.reset.Store(true)
	}
}

// cut reports whether an end that was read is none in order. A write may have been told so at the same time.
func (k *sock) cut() bool {
	k.lockTelling()
	defer k.telling.Unlock()
	return k.reset.Load()
}

// lockTelling waits for a write that is under way. One without raw system calls could go on for as long as the peer takes nothing: it
// is made to return.
func (k *sock) lockTelling() {
	if k.telling.TryLock() {
		return
	}
	if k.raw == nil {
		_ = k.conn.SetWriteDeadline(time.Unix(1, 0))
		defer k.hurried.Store(true)
	}
	k.telling.Lock()
}

// held is how many bytes of what was written the other side has not acknowledged; below 0: the system does not tell.
func (k *sock) held() int {
	if k.lane != nil {
		return -1 // a stream's window tells, and the connection's writer looks for all
	}
	return unsent.Held(rawConn(k.conn))
}

// put is a raw write beside which another goroutine may read.
func (k *sock) put(fd uintptr, head, body []byte) (int, error) {
	k.telling.Lock()
	defer k.telling.Unlock()
	n, err := sysWrite(fd, head, body)
	k.broke(err)
	return n, err
}

func (k *sock) tryWrite(fd uintptr) bool {
	for len(k.head)+len(k.body) > 0 {
		n, err := k.put(fd, k.head, k.body)
		if errors.Is(err, errAgain) {
			return false
		}
		if err != nil {
			k.wroteErr = err
			return true
		}
		k.wroteN += n
		h := min(n, len(k.head))
		k.head, k.body = k.head[h:], k.body[n-h:]
	}
	return true
}

// offer writes what the connection takes at once; an error comes back with the next write.
func (k *sock) offer(b []byte) int {
	n, err := k.put(k.fd, b, nil)
	if err != nil {
		return 0
	}
	return n
}

// write blocks until all is written.
func (k *sock) write(head, body []byte) (int, wire.Result) {
	if k.lane != nil {
		k.waited = true
		if k.trailers != nil {
			k.lane.finish(k.trailers)
			k.trailers = nil
			return 0, wire.More
		}
		return k.lane.write(head, body, k.ends, k.writeTo)
	}
	if k.raw == nil {
		k.waited = true
		return k.writePlain(head, body)
	}
	var n int
	var err error
	if !k.shared {
		n, err = sysWrite(k.fd, head, body)
		k.broke(err)
	}
	if k.waited = err != nil || n < len(head)+len(body); !k.waited {
		return n, wire.More
	}
	h := min(n, len(head))
	k.head, k.body, k.wroteN, k.wroteErr = head[h:], body[n-h:], n, nil
	err = k.raw.Write(k.writeFn)
	k.head, k.body = nil, nil
	if err == nil {
		err = k.wroteErr
	}
	return k.written(k.wroteN, err)
}

func (k *sock) writePlain(head, body []byte) (int, wire.Result) {
	n := 0
	for _, b := range [2][]byte{head, body} {
		if len(b) == 0 {
			continue
		}
		m, err := k.tellingWrite(b)
		n += m
		if k.steady != nil && isTimeout(err) && !k.halted.Load() {
			return n, wire.Failed // next to nothing was taken in all the time
		}
		if err != nil {
			return k.written(n, err)
		}
	}
	return n, wire.More
}

// tellingWrite writes beside another goroutine that may read. An end over TLS says itself whether it is in order.
func (k *sock) tellingWrite(b []byte) (int, error) {
	if k.steady == nil {
		k.telling.Lock()
		defer k.telling.Unlock()
	}
	n, err := k.conn.Write(b)
	k.broke(err)
	return n, err
}

// written is what a write comes to. A deadline that has passed is set anew by the next writeBy, however near: with it, each write would end
// at once.
func (k *sock) written(n int, err error) (int, wire.Result) {
	switch {
	case err == nil:
		return n, wire.More
	case isTimeout(err):
		k.writeTo = 0
		return n, wire.Blocked
	}
	return n, wire.Failed
}
