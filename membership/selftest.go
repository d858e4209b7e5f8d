package membership

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// selfTest finds out whether UDP gets through to another member. Firewalls that
// open a port for TCP only are common, and gossip half works behind them: a
// member joins over TCP and is then declared dead again and again. So a join
// asks for an echo over UDP and says clearly when none comes.
//
// A test packet is as long as its answer, and bears a MAC of the gossip key, so
// that it helps nobody to scan or to amplify.
type selfTest struct {
	keys func() [][]byte
	send func([]byte, netip.AddrPort)
	now  func() time.Time

	mu      sync.Mutex
	waiting map[[16]byte]chan struct{}
	second  time.Time // the current second of the answers
	answers int       // given in it
}

const (
	testMagic  = 0xE7 // no encrypted packet of memberlist begins so
	testAsk    = 1
	testAnswer = 2
	testLen    = 2 + 16 + 16 // magic and kind, nonce, MAC
	maxAnswers = 100         // a second
)

func newSelfTest(keys func() [][]byte, send func([]byte, netip.AddrPort)) *selfTest {
	return &selfTest{keys: keys, send: send, now: time.Now, waiting: map[[16]byte]chan struct{}{}}
}

func testPacket(kind byte, nonce [16]byte, key []byte) []byte {
	p := append([]byte{testMagic, kind}, nonce[:]...)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("portico udp test"))
	mac.Write(p)
	return append(p, mac.Sum(nil)[:16]...)
}

// handle takes a datagram and reports whether it was a test packet.
func (s *selfTest) handle(b []byte, from netip.AddrPort) bool {
	if len(b) == 0 || b[0] != testMagic {
		return false
	}
	if len(b) != testLen || b[1] != testAsk && b[1] != testAnswer {
		return true
	}
	nonce := [16]byte(b[2:18])
	for _, key := range s.keys() {
		if !hmac.Equal(b, testPacket(b[1], nonce, key)) {
			continue
		}
		if b[1] == testAsk {
			if s.mayAnswer() {
				s.send(testPacket(testAnswer, nonce, key), from)
			}
			return true
		}
		s.answered(nonce)
		return true
	}
	return true
}

func (s *selfTest) mayAnswer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now().Truncate(time.Second); !now.Equal(s.second) {
		s.second, s.answers = now, 0
	}
	s.answers++
	return s.answers <= maxAnswers
}

func (s *selfTest) answered(nonce [16]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch, ok := s.waiting[nonce]; ok {
		delete(s.waiting, nonce)
		close(ch)
	}
}

// reaches reports whether an echo came back from a member: five packets within
// one and a half seconds, because single ones get lost.
func (s *selfTest) reaches(ctx context.Context, to netip.AddrPort) bool {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	echo := make(chan struct{})
	s.mu.Lock()
	s.waiting[nonce] = echo
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, nonce)
		s.mu.Unlock()
	}()
	keys := s.keys()
	if len(keys) == 0 {
		return false
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for range 5 {
		s.send(testPacket(testAsk, nonce, keys[0]), to)
		select {
		case <-echo:
			return true
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return false
}
