package membership

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"portico/internal/descriptors"
)

// transport is what memberlist sends and receives with. It stands where
// memberlist's own would, because that one takes any number of connections from
// anybody, reads megabytes from strangers, and can hang at its end.
type transport struct {
	tcp       *net.TCPListener
	udp       *net.UDPConn
	advertise netip.AddrPort
	log       *slog.Logger
	selfTest  *selfTest

	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	stop    sync.Once
	wg      sync.WaitGroup

	mu    sync.Mutex
	slots map[netip.Addr]int // open streams by remote address
	open  int                // sum of slots

	badPackets, badStreams, refused atomic.Int64
}

const (
	maxStreams     = 64              // at a time, or half of what the process keeps from traffic if that is less; a member needs one every 30 s
	maxStreamsEach = 8               // of one address, so that no single one fills them all
	headTimeout    = 3 * time.Second // for the first six bytes of a stream
	maxDatagram    = 65536
)

// listen binds TCP and UDP on one port. Port 0 takes one that is free for both.
func listen(bind string) (*net.TCPListener, *net.UDPConn, error) {
	addr, err := net.ResolveTCPAddr("tcp", bind)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on gossip address %q: %w", bind, err)
	}
	for tries := 0; ; tries++ {
		tcp, err := net.ListenTCP("tcp", addr)
		if err != nil {
			return nil, nil, fmt.Errorf("listen for gossip: %w", err)
		}
		port := tcp.Addr().(*net.TCPAddr).Port
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.IP, Port: port, Zone: addr.Zone})
		if err == nil {
			_ = udp.SetReadBuffer(2 << 20) // a wish: the system may grant less
			return tcp, udp, nil
		}
		_ = tcp.Close()
		if addr.Port != 0 || tries == 10 {
			return nil, nil, fmt.Errorf("listen for gossip: %w", err)
		}
	}
}

func newTransport(bind string, log *slog.Logger, keys func() [][]byte) (*transport, error) {
	tcp, udp, err := listen(bind)
	if err != nil {
		return nil, err
	}
	t := &transport{
		tcp: tcp, udp: udp, log: log,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		done:    make(chan struct{}),
		slots:   map[netip.Addr]int{},
	}
	t.selfTest = newSelfTest(keys, func(b []byte, to netip.AddrPort) { _, _ = udp.WriteToUDPAddrPort(b, to) })
	t.wg.Go(t.accept)
	t.wg.Go(t.receive)
	return t, nil
}

func (t *transport) port() int { return t.tcp.Addr().(*net.TCPAddr).Port }

// Shutdown implements memberlist.Transport: it returns when nothing runs any
// more, and may be called twice.
func (t *transport) Shutdown() error {
	t.stop.Do(func() {
		close(t.done)
		_ = t.tcp.Close()
		_ = t.udp.Close()
	})
	t.wg.Wait()
	return nil
}

func (t *transport) accept() {
	delay := time.Duration(0)
	for {
		conn, err := t.tcp.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			t.log.Warn("accept gossip stream", "error", err, "pause", delay)
			select {
			case <-t.done:
				return
			case <-time.After(delay):
				continue
			}
		}
		delay = 0
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !t.take(from) {
			t.refused.Add(1)
			_ = conn.Close()
			continue
		}
		s := &stream{Conn: conn, release: func() { t.give(from) }}
		t.wg.Go(func() { t.hand(s) })
	}
}

// hand gives a stream to memberlist once its first bytes are in order.
func (t *transport) hand(s *stream) {
	stop := make(chan struct{})
	defer close(stop)
	t.wg.Go(func() { // a silent stream must not delay the end
		select {
		case <-t.done:
			_ = s.Conn.SetReadDeadline(time.Now())
		case <-stop:
		}
	})
	_ = s.SetReadDeadline(time.Now().Add(headTimeout))
	if err := s.inspect(); err != nil {
		t.badStreams.Add(1)
		t.log.Debug("refuse gossip stream", "from", s.RemoteAddr().String(), "error", err)
		_ = s.Close()
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	select {
	case t.streams <- s:
	case <-t.done:
		_ = s.Close()
	}
}

// take claims a slot for a stream from an address.
func (t *transport) take(from netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open >= min(maxStreams, descriptors.Share(2)) || t.slots[from] >= maxStreamsEach {
		return false
	}
	t.open++
	t.slots[from]++
	return true
}

func (t *transport) give(from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	if t.slots[from]--; t.slots[from] == 0 {
		delete(t.slots, from)
	}
}

func (t *transport) receive() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Windows reports a peer's closed port here; the socket is well.
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if t.selfTest.handle(buf[:n], from) {
			continue
		}
		if !checkPacket(buf[:n]) {
			t.badPackets.Add(1)
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.done:
			return
		}
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.udp.WriteTo(b, to)
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout implements memberlist.Transport. The answer is looked at as
// closely as what strangers send.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return nil, err
	}
	return &stream{Conn: conn}, nil
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// withPort returns addr, with port where it has none.
func withPort(addr string, port int) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(addr, strconv.Itoa(port))
}
