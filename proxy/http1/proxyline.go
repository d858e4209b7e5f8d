package http1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
)

// ErrProxyHeader says that a connection did not open with a PROXY protocol header although its source must send one.
var ErrProxyHeader = errors.New("invalid PROXY protocol header")

var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// ProxyHeaderMax is how many bytes hold every header that ParseProxy accepts.
const ProxyHeaderMax = 536

// ParseProxy reads a PROXY protocol header, version 1 or 2. It returns its length, zero while b is too short, and the addresses it
// tells; they are invalid for a connection of the proxy's own (LOCAL, UNKNOWN).
func ParseProxy(b []byte) (n int, src, dst netip.AddrPort, err error) {
	k := min(len(b), len(proxySignature))
	if bytes.Equal(b[:k], proxySignature[:k]) {
		return parseProxy2(b)
	}
	return parseProxy1(b)
}

func parseProxy1(b []byte) (n int, src, dst netip.AddrPort, err error) {
	const prefix = "PROXY "
	k := min(len(b), len(prefix))
	if string(b[:k]) != prefix[:k] {
		return 0, src, dst, ErrProxyHeader
	}
	i := bytes.IndexByte(b[:min(len(b), 107)], '\n')
	if i < 0 {
		if len(b) >= 107 {
			return 0, src, dst, ErrProxyHeader
		}
		return 0, src, dst, nil
	}
	if b[i-1] != '\r' {
		return 0, src, dst, ErrProxyHeader
	}
	f := bytes.Split(b[len(prefix):i-1], []byte(" "))
	if string(f[0]) == "UNKNOWN" {
		return i + 1, src, dst, nil
	}
	if len(f) != 5 || string(f[0]) != "TCP4" && string(f[0]) != "TCP6" {
		return 0, src, dst, ErrProxyHeader
	}
	src, ok1 := addrPort(f[1], f[3])
	dst, ok2 := addrPort(f[2], f[4])
	if !ok1 || !ok2 || src.Addr().Is4() != (string(f[0]) == "TCP4") || dst.Addr().Is4() != src.Addr().Is4() {
		return 0, src, dst, ErrProxyHeader
	}
	return i + 1, src, dst, nil
}

func addrPort(addr, port []byte) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(string(addr))
	p, ok := parseLength(port)
	if err != nil || a.Zone() != "" || !ok || p > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(p)), true
}

func parseProxy2(b []byte) (n int, src, dst netip.AddrPort, err error) {
	if len(b) < 16 {
		return 0, src, dst, nil
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if b[12]>>4 != 2 || b[12]&15 > 1 || size > ProxyHeaderMax-16 {
		return 0, src, dst, ErrProxyHeader
	}
	if len(b) < 16+size {
		return 0, src, dst, nil
	}
	body := b[16 : 16+size]
	if b[12]&15 == 0 { // LOCAL
		return 16 + size, src, dst, nil
	}
	switch b[13] {
	case 0x11:
		if size < 12 {
			return 0, src, dst, ErrProxyHeader
		}
		src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:]))
		dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[4:8])), binary.BigEndian.Uint16(body[10:]))
	case 0x21:
		if size < 36 {
			return 0, src, dst, ErrProxyHeader
		}
		src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])), binary.BigEndian.Uint16(body[32:]))
		dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[16:32])), binary.BigEndian.Uint16(body[34:]))
	}
	return 16 + size, src, dst, nil
}

// AppendProxy appends a PROXY protocol header of version 1 or 2.
func AppendProxy(b []byte, version int, src, dst netip.AddrPort) []byte {
	s, d := src.Addr().Unmap(), dst.Addr().Unmap()
	v4 := s.Is4() && d.Is4()
	if version == 1 {
		if !src.IsValid() || !dst.IsValid() || s.Is4() != d.Is4() {
			return append(b, "PROXY UNKNOWN\r\n"...)
		}
		if v4 {
			b = append(b, "PROXY TCP4 "...)
		} else {
			b = append(b, "PROXY TCP6 "...)
		}
		b = append(s.WithZone("").AppendTo(b), ' ')
		b = append(d.WithZone("").AppendTo(b), ' ')
		b = append(appendUint(b, int64(src.Port())), ' ')
		return append(appendUint(b, int64(dst.Port())), "\r\n"...)
	}
	b = append(b, proxySignature...)
	if !src.IsValid() || !dst.IsValid() {
		return append(b, 0x20, 0, 0, 0)
	}
	if v4 {
		s4, d4 := s.As4(), d.As4()
		b = append(append(append(b, 0x21, 0x11, 0, 12), s4[:]...), d4[:]...)
	} else {
		s6, d6 := s.As16(), d.As16()
		b = append(append(append(b, 0x21, 0x21, 0, 36), s6[:]...), d6[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	return binary.BigEndian.AppendUint16(b, dst.Port())
}
