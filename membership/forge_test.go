package membership_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// What memberlist sends, rebuilt here so that tests can forge it.
const (
	msgAlive   = 4
	msgDead    = 5
	msgEncrypt = 10
)

type aliveMessage struct {
	Incarnation uint32
	Node        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Vsn         []uint8
}

type deadMessage struct {
	Incarnation uint32
	Node        string
	From        string
}

func encoded(t testing.TB, kind byte, m any) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteByte(kind)
	if err := codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tags encodes serf's tags: a magic byte, then a map.
func tags(t testing.TB, m map[string]string) []byte { return encoded(t, 255, m) }

// sealed encrypts text as a holder of the key would.
func sealed(t testing.TB, key []byte, version byte, text, data []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 13, 13+len(text)+16)
	out[0] = version
	_, _ = rand.Read(out[1:])
	return gcm.Seal(out, out[1:13], text, data)
}

// sealedStream is sealed with the header of a stream.
func sealedStream(t testing.TB, key []byte, version byte, text []byte) []byte {
	t.Helper()
	extra := 29
	head := []byte{msgEncrypt, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[1:], uint32(len(text)+extra))
	return append(head, sealed(t, key, version, text, head)...)
}

func sendUDP(t testing.TB, to string, packets ...[]byte) {
	t.Helper()
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, p := range packets {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
}

// sendTCP sends b and waits until the other side has closed.
func sendTCP(t testing.TB, to string, b []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write(b)
	_ = conn.SetReadDeadline(time.Now().Add(waitTime))
	_, _ = conn.Read(make([]byte, 1024))
}

func addrOf(t testing.TB, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
