package takeover

import (
	"fmt"
	"net"
	"os"
	"time"
)

// Keep takes a listening socket from elsewhere, such as the service manager. Listen
// uses it for the address that it is bound to. The caller may close f.
func (s *Sockets) Keep(name string, f *os.File) error {
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("keep the socket for %s: %w", name, err)
	}
	defer func() { _ = l.Close() }()
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("keep the socket for %s: it is bound to %s, which is no TCP address", name, l.Addr())
	}
	fd, err := dupListener(l)
	if err != nil {
		return fmt.Errorf("keep the socket for %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(name, "", fd)
	s.kept[name].bound = tcp
	return nil
}

// fits reports whether the socket is the one for an address.
func (k *kept) fits(address string) bool {
	if k.bound == nil {
		return k.address == address
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || want.Port != k.bound.Port {
		return false
	}
	anywhere := func(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
	return want.IP.Equal(k.bound.IP) || anywhere(want.IP) && anywhere(k.bound.IP)
}

// Store hands the sockets to the service manager at the other end of the unix datagram
// socket notify (systemd's NOTIFY_SOCKET), which gives them to the next process that it starts, if it was
// told to keep any (FileDescriptorStoreMax). What it had of the names before is forgotten: an address that
// nobody serves any more must not stay open.
func (s *Sockets) Store(notify string, names ...string) error {
	if !supported {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("store sockets: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return fmt.Errorf("store sockets: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		err := sendDatagram(c, []byte("FDSTOREREMOVE=1\nFDNAME="+name), nil)
		if k := s.kept[name]; k != nil && err == nil {
			err = sendDatagram(c, []byte("FDSTORE=1\nFDNAME="+name), rights([]int{k.fd}))
		}
		if err != nil {
			return fmt.Errorf("store the socket for %s: %w", name, err)
		}
	}
	return nil
}
