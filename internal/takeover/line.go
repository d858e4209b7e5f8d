package takeover

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// What the two say.
const (
	sayHello   = "hello"
	sayRefused = "refused"
	saySockets = "sockets"
	sayReady   = "ready"
	sayFailed  = "failed"
	sayGo      = "go"
	sayRevoked = "revoked"
	sayFile    = "file"
	sayEnd     = "end"
	sayCut     = "cut"
)

// message is one of them, with the descriptors that came with it.
type message struct {
	What     string   `json:"what"`
	Protocol int      `json:"protocol,omitempty"`
	Who      Who      `json:"who,omitzero"`
	Text     string   `json:"text,omitempty"` // a reason, or the name of a file
	Sockets  []socket `json:"sockets,omitempty"`

	fds []int
}

type socket struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

const (
	maxMessage = 64 << 10
	maxFiles   = 16 // descriptors in one message
)

// line carries messages: four bytes of length, JSON, and descriptors beside the
// first byte.
type line struct {
	c   *net.UnixConn
	in  []byte
	fds []int // that came and belong to no message yet
}

// verify makes sure that the other end runs under this process's account, and returns
// its process id. The socket's mode says the same; this also holds where a folder was left open.
func (l *line) verify() (pid int, err error) {
	raw, err := l.c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var uid int
	cerr := raw.Control(func(fd uintptr) { pid, uid, err = peer(int(fd)) })
	if err = errors.Join(cerr, err); err != nil {
		return 0, fmt.Errorf("find out who is at the other end: %w", err)
	}
	if own := os.Geteuid(); uid != own {
		return 0, fmt.Errorf("process %d runs under user id %d and this one under %d: only the same account may take over", pid, uid, own)
	}
	return pid, nil
}

func (l *line) send(m message, fds ...int) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	if err := l.c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = rights(fds)
	}
	n, _, err := l.c.WriteMsgUnix(b, oob, nil)
	for err == nil && n < len(b) { // the descriptors went with the first bytes
		var more int
		more, err = l.c.Write(b[n:])
		n += more
	}
	return err
}

// receive waits for the next message. It fails with io.EOF when the other end has
// closed, and with the cause of ctx when that ends.
func (l *line) receive(ctx context.Context) (message, error) {
	if err := l.c.SetReadDeadline(time.Time{}); err != nil {
		return message{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		m, ok, err := l.next()
		if ok || err != nil {
			return m, err
		}
		if err := l.read(); err != nil {
			closeAll(l.fds) // of half a message
			l.fds = nil
			if cause := context.Cause(ctx); cause != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				return message{}, cause
			}
			return message{}, err
		}
	}
}

// next takes a message out of what was read.
func (l *line) next() (m message, ok bool, err error) {
	if len(l.in) < 4 {
		return m, false, nil
	}
	n := binary.BigEndian.Uint32(l.in)
	if n > maxMessage {
		return m, false, fmt.Errorf("a message of %d bytes is too long", n)
	}
	if len(l.in) < 4+int(n) {
		return m, false, nil
	}
	if err := json.Unmarshal(l.in[4:4+n], &m); err != nil {
		return m, false, fmt.Errorf("read message: %w", err)
	}
	l.in = l.in[4+n:]
	want := len(m.Sockets)
	if m.What == sayFile {
		want = 1
	}
	want = min(want, len(l.fds))
	m.fds, l.fds = l.fds[:want:want], l.fds[want:]
	return m, true, nil
}

// read takes bytes and descriptors from the connection.
func (l *line) read() error {
	b, oob := make([]byte, 4096), make([]byte, rightsSpace(maxFiles))
	n, oobn, _, _, err := l.c.ReadMsgUnix(b, oob)
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return err
	}
	if oobn > 0 {
		fds, err := parseRights(oob[:oobn])
		if err != nil {
			return fmt.Errorf("read descriptors: %w", err)
		}
		l.fds = append(l.fds, fds...)
	}
	if n == 0 && oobn == 0 {
		return io.EOF
	}
	l.in = append(l.in, b[:n]...)
	return nil
}

// close ends the conversation.
func (l *line) close() {
	_ = l.c.Close()
	closeAll(l.fds) // which belong to no message
	l.fds = nil
}
