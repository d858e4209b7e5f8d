package takeover

import (
	"fmt"
	"net"
	"os"
	"sync"
)

// Sockets are listening TCP sockets that outlive the listeners made of them: kept
// for a successor, or got from a predecessor or the service manager. The zero value has none. Its
// methods may be used concurrently.
type Sockets struct {
	mu   sync.Mutex
	kept map[string]*kept // guarded by mu
}

// kept is a descriptor of its own for a socket. It is a bare number: an os.File would
// stand in the runtime's poller and wake it for each connection.
type kept struct {
	address string       // that it was bound for, as the configuration said it
	bound   *net.TCPAddr // that it is bound to, where nobody knows what the configuration said; nil: address counts
	fd      int
	used    bool // by a listener of this process
}

// Listen returns a listener for the socket of that name if it was bound for that
// address, else binds it anew; in the latter case the former one is closed. The listener may be
// closed and made again.
func (s *Sockets) Listen(name, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.kept[name]; k != nil && k.fits(address) {
		l, err := k.listener(name)
		if err != nil {
			return nil, fmt.Errorf("use the socket for %s that was handed over: %w", name, err)
		}
		k.used, k.address, k.bound = true, address, nil
		return l, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if !supported {
		return l, nil
	}
	fd, err := dupListener(l)
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("keep the socket for %s: %w", name, err)
	}
	s.keepLocked(name, address, fd)
	s.kept[name].used = true
	return l, nil
}

// listener makes one of a descriptor of its own.
func (k *kept) listener(name string) (net.Listener, error) {
	fd, err := dup(k.fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }() // FileListener makes its own
	return net.FileListener(f)
}

func (s *Sockets) keep(name, address string, fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(name, address, fd)
}

func (s *Sockets) keepLocked(name, address string, fd int) {
	if s.kept == nil {
		s.kept = map[string]*kept{}
	}
	if old := s.kept[name]; old != nil {
		closeFD(old.fd)
	}
	s.kept[name] = &kept{address: address, fd: fd}
}

// Trim closes the sockets that this process has made no listener of, and returns
// their names.
func (s *Sockets) Trim() (unused []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, k := range s.kept {
		if !k.used {
			closeFD(k.fd)
			delete(s.kept, name)
			unused = append(unused, name)
		}
	}
	return unused
}

// Close lets go of all sockets. Listeners that were made of them stay open.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, k := range s.kept {
		closeFD(k.fd)
		delete(s.kept, name)
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}
