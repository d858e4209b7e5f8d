package portowner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// diag is a socket to the kernel's sock_diag (sock_diag(7)). It is asked for one
// socket at a time, which costs the same however many the machine has.
type diag struct{ fd int }

// socket is what the kernel says of one TCP socket.
type socket struct {
	state uint8
	uid   int
	inode uint32 // 0: nobody has accepted it, or nobody has it open any more
}

func openDiag() (diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return diag{}, fmt.Errorf("open sock_diag: %w", err)
	case err != nil:
		return diag{}, fmt.Errorf("%w: open sock_diag: %w", ErrUnsupported, err)
	}
	return diag{fd}, nil
}

func (d diag) close() { _ = unix.Close(d.fd) }

// Sizes of struct nlmsghdr, inet_diag_req_v2 and inet_diag_msg, and where in
// them the fields lie that are used (linux/netlink.h, linux/inet_diag.h).
const (
	headerLen  = unix.SizeofNlMsghdr
	requestLen = headerLen + 8 + 48
	answerLen  = 72

	sockDiagByFamily = 20

	offState = headerLen + 1
	offUID   = headerLen + 64
	offInode = headerLen + 68
)

// find asks for the socket whose own end is src and whose other end is dst; with
// port 0 in dst, for the listener at src.
func (d diag) find(src, dst netip.AddrPort) (socket, error) {
	var buf [1024]byte // holds every answer to such a question
	if err := unix.Sendto(d.fd, question(src, dst), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return socket{}, fmt.Errorf("ask sock_diag: %w", err)
	}
	// The kernel answers within sendto.
	n, _, err := unix.Recvfrom(d.fd, buf[:], unix.MSG_DONTWAIT)
	if err != nil {
		return socket{}, fmt.Errorf("ask sock_diag: %w", err)
	}
	return answer(buf[:n])
}

// question is a request for one TCP socket.
func question(src, dst netip.AddrPort) []byte {
	b := make([]byte, requestLen)
	binary.NativeEndian.PutUint32(b[0:], requestLen)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[headerLen:]
	r[0] = unix.AF_INET6
	if src.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	r[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(r[8:], src.Port())
	binary.BigEndian.PutUint16(r[10:], dst.Port())
	copy(r[12:28], src.Addr().AsSlice())
	copy(r[28:44], dst.Addr().AsSlice())
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // no cookie
	return b
}

// answer reads what the kernel says.
func answer(b []byte) (socket, error) {
	if len(b) < headerLen+4 {
		return socket{}, fmt.Errorf("%w: sock_diag answers %d bytes", ErrUnsupported, len(b))
	}
	switch kind := binary.NativeEndian.Uint16(b[4:]); {
	case kind == unix.NLMSG_ERROR:
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b[headerLen:])))
		if errno == unix.ENOENT {
			return socket{}, ErrGone
		}
		return socket{}, fmt.Errorf("ask sock_diag: %w", errno)
	case kind != sockDiagByFamily || len(b) < headerLen+answerLen:
		return socket{}, fmt.Errorf("%w: sock_diag answers %d bytes of kind %d", ErrUnsupported, len(b), kind)
	}
	return socket{
		state: b[offState],
		uid:   int(binary.NativeEndian.Uint32(b[offUID:])),
		inode: binary.NativeEndian.Uint32(b[offInode:]),
	}, nil
}
