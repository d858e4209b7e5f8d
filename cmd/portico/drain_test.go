package main

import (
	"strings"
	"testing"
	"time"

	"portico/deployhook"
)

// TestTheEndOfAWaitClaimsNothing holds that a proxy that counts anew is not said to hold no session.
func TestTheEndOfAWaitClaimsNothing(t *testing.T) {
	var anew, held, silent deployhook.Drain
	anew.Recounting = true
	held.Sessions = 3
	silent.Silent = []string{"proxy-2"}
	for want, x := range map[string]deployhook.Drain{
		"no session seen since the proxy started": anew,
		"3 sessions left":                         held,
		"no answer from proxy-2":                  silent,
	} {
		got := timeIsOver("app-1", 20*time.Second, x)
		if !strings.Contains(got, want) || strings.Contains(got, "0 sessions") {
			t.Errorf("%q does not tell %q", got, want)
		}
	}
}
