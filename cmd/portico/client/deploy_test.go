package client

import "testing"

// TestSaid: a warning about memory is given once, though its number has changed meanwhile; another server's is another one.
func TestSaid(t *testing.T) {
	before := []string{"server-1 has 22.7 GiB of memory free, and so on", "something else"}
	for note, want := range map[string]bool{
		"server-1 has 22.8 GiB of memory free, and so on": true,
		"server-2 has 22.7 GiB of memory free, and so on": false,
		"something else":             true,
		"server-1 has other trouble": false,
	} {
		if got := said(before, note); got != want {
			t.Errorf("%q: %v", note, got)
		}
	}
}
