package client

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portico/cmd/portico/screen"
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

// A drain of eight hours in a pipe prints what changes, once a minute at most.
func TestDrainInAPipePrintsChanges(t *testing.T) {
	var out bytes.Buffer
	line := screen.NewStatusLine(&out)
	start := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	x := deployhook.Drain{Kind: deployhook.DrainMember}
	x.Deadline = start.Add(8 * time.Hour)
	for second := range 8 * 60 * 60 {
		now := start.Add(time.Duration(second) * time.Second)
		switch {
		case second < 300: // one leaves each second
			x.Sessions = 400 - second
		case second == 3600:
			x.Sessions = 7
		}
		line.Note(drainKey(x), "server-1: "+drainText(x, now), now)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 7 || !strings.Contains(lines[0], "400 sessions") || !strings.Contains(lines[5], "101 sessions") || !strings.Contains(lines[6], "7 sessions") {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
}
