package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// The header of an encrypted stream of memberlist, before anything has been
// decrypted: type, length of the rest, then version, nonce, text and tag.
const (
	streamHead   = 6  // type (1), length (4), version (1)
	encryptType  = 10 // memberlist's encryptMsg
	cipherMode   = 1  // AES-GCM without padding; version 0 is never spoken by us
	cipherExtra  = 29 // version, nonce and tag around the text
	maxStreamLen = 1 << 20
)

var errNotOurs = errors.New("not an encrypted gossip stream")

// stream is a TCP connection whose first bytes are looked at before memberlist
// reads them. It exists because memberlist 0.7.0
//   - indexes into the decrypted text without looking whether there is any, so
//     that a holder of the key ends the process with an empty message;
//   - panics on a bad padding of its version 0, which only ancient members use;
//   - reads up to 20 MB for each connection before it knows the sender.
//
// A recover is no remedy: the panic is in a goroutine of memberlist's own. The
// length in the header is authenticated together with the text, so what passes
// here cannot turn out empty later.
type stream struct {
	net.Conn
	release func() // gives the slot back; nil on connections that we dialed
	once    sync.Once

	mu      sync.Mutex // a stream is read by one goroutine; the lock keeps that an assumption nobody has to make
	checked error
	done    bool
	head    []byte // what was looked at and is still to be read
	left    int64  // bytes of the message that may follow
}

// inspect reads the header and refuses what memberlist must not see. The
// deadline is the caller's.
func (s *stream) inspect() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inspectLocked()
}

func (s *stream) inspectLocked() error {
	if s.done {
		return s.checked
	}
	s.done = true
	head := make([]byte, streamHead)
	if n, err := io.ReadFull(s.Conn, head); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: ended after %d bytes", errNotOurs, n)
		}
		s.checked = err
		return err
	}
	if s.checked = checkStream(head); s.checked != nil {
		return s.checked
	}
	s.head = head
	s.left = int64(binary.BigEndian.Uint32(head[1:5])) - 1 // the version is in head
	return nil
}

// checkStream judges the first six bytes of a stream.
func checkStream(head []byte) error {
	length := binary.BigEndian.Uint32(head[1:5])
	switch {
	case head[0] != encryptType || head[5] != cipherMode:
		return errNotOurs
	case length <= cipherExtra:
		return fmt.Errorf("%w: empty message", errNotOurs)
	case length > maxStreamLen:
		return fmt.Errorf("%w: %d bytes announced, the most is %d", errNotOurs, length, maxStreamLen)
	}
	return nil
}

// checkPacket judges a datagram: it must at least look encrypted, by the one
// cipher that we speak, and hold something.
func checkPacket(b []byte) bool {
	return len(b) > cipherExtra && b[0] == cipherMode
}

// Read implements io.Reader: the header once more, then the rest of the one
// message, then the end.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.inspectLocked(); err != nil {
		return 0, err
	}
	if len(s.head) > 0 {
		n := copy(p, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	if s.left <= 0 {
		return 0, io.EOF
	}
	n, err := s.Conn.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}

// Close implements io.Closer and may be called twice.
func (s *stream) Close() error {
	err := s.Conn.Close()
	if s.release != nil {
		s.once.Do(s.release)
	}
	return err
}
