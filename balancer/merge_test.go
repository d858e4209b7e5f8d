package balancer_test

import (
	"bytes"
	"testing"
	"time"

	"portico/balancer"
)

// Two processes serve for a while, the second with the table that the first one had. What
// the first one leaves at its end is merged: its new sessions are taken, of those that both know the later
// use counts, and nobody is counted twice.
func TestMergeSessions(t *testing.T) {
	save := func(w *world) []byte {
		var file bytes.Buffer
		if err := w.b.SaveSessions(&file); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	first := newWorld(t, balancer.Config{}, "a", "b")
	var cookies [][]byte
	for range 100 {
		_, cookie := first.get(nil)
		cookies = append(cookies, cookie)
	}
	second := newWorld(t, balancer.Config{}, "a", "b")
	if err := second.b.SetKeys(first.keys, first.now); err != nil {
		t.Fatal(err)
	}
	if n, err := second.b.RestoreSessions(bytes.NewReader(save(first)), first.now); err != nil || n != 100 {
		t.Fatal(n, err)
	}

	start := first.now
	first.now += (10 * time.Minute).Milliseconds()
	second.now = first.now - (5 * time.Minute).Milliseconds()
	first.get(cookies[0])
	for range 30 {
		first.get(nil)
	}
	second.get(cookies[0])
	second.get(cookies[1])
	for range 20 {
		second.get(nil)
	}
	left := save(first)
	damaged := bytes.Clone(left)
	damaged[len(damaged)/2] ^= 0x40
	if n, err := second.b.MergeSessions(bytes.NewReader(damaged), first.now); err == nil || n != 0 {
		t.Errorf("%d sessions of a damaged table were taken, %v", n, err)
	}
	for i, want := range []int{30, 0} { // a second time changes nothing
		if n, err := second.b.MergeSessions(bytes.NewReader(left), first.now); err != nil || n != want {
			t.Fatalf("time %d: %d new sessions, want %d (%v)", i+1, n, want, err)
		}
		if n := second.up("a").Sessions() + second.up("b").Sessions(); n != 150 {
			t.Errorf("%d sessions are counted, want 150", n)
		}
	}
	used := map[int64]int{}
	list, _ := second.b.Sessions().List(second.p.Name(), 1000, func(*balancer.SessionInfo) bool { return true })
	for _, s := range list {
		used[s.Last-start/1000]++
	}
	for after, want := range map[time.Duration]int{0: 98, 5 * time.Minute: 21, 10 * time.Minute: 31} {
		if got := used[int64(after.Seconds())]; got != want {
			t.Errorf("%d sessions were used last %s after the start, want %d", got, after, want)
		}
	}
}
