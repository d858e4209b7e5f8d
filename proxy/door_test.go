package proxy

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestLastDoor: what is remembered of the request before never leads another one astray: not one of another host, of another TLS
// connection, after a change of the table, or when the memory that a host was read from holds another.
func TestLastDoor(t *testing.T) {
	first, second := testTable(t), testTable(t)
	delete(second.exact, "shop.test")
	first.serial, second.serial = 1, 2
	unpublished := testTable(t)
	hosts := []string{
		"shop.test", "shop.test:80", "SHOP.test", "shop.test.", "any.shop.test", "part.test", "else.test", "bad host", "[2001:db8::1]", "",
		"a-host-that-is-longer-than-the-memory-for-it-has-room-and-then-some-more.test",
	}
	paths := []string{"/", "/admin", "/admin/deep/x", "/only/x", "/%zz", "/x/../admin"}
	snis := []string{"", "shop.test", "part.test"}
	r := rand.New(rand.NewPCG(1, 2))
	var last lastDoor
	buf := make([]byte, 128)
	hits := 0
	for range 20_000 {
		tab := []*table{first, first, first, second, unpublished}[r.IntN(5)]
		n := copy(buf, hosts[r.IntN(len(hosts))])
		authority, path := text(buf[:n]), paths[r.IntN(len(paths))]
		secure, sni := r.IntN(2) == 0, ""
		if secure {
			sni = snis[r.IntN(len(snis))]
		}
		for range 2 {
			if last.serial == tab.serial && tab.serial != 0 && string(last.authority[:last.length]) == authority {
				hits++
			}
			got, gotFault := last.route(tab, authority, path, secure, sni)
			want, wantFault := tab.route(authority, path, secure, sni)
			if got != want || gotFault != wantFault {
				t.Fatalf("%q %q %v %q: got %v %v, want %v %v", authority, path, secure, sni, got, gotFault, want, wantFault)
			}
		}
	}
	if hits < 5_000 {
		t.Errorf("only %d were remembered", hits)
	}
}

// TestClock: the engine's time is translated to within what one reading is good for.
func TestClock(t *testing.T) {
	var c clock
	base := time.Now()
	a := c.now(1000)
	if b := c.now(1000 + int64(50*time.Millisecond)); b.Sub(a) != 50*time.Millisecond || b.Round(0).Sub(a.Round(0)) != 50*time.Millisecond {
		t.Errorf("%v after %v", b, a)
	}
	if b := c.now(1000 + int64(time.Hour)); b.Sub(base) > time.Minute {
		t.Errorf("an old reading is trusted: %v", b)
	}
	if b := c.now(5); b.Before(a) {
		t.Errorf("the engine's clock went back, and so did ours: %v", b)
	}
}
