package screen

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// A deploy tells how much there is to move to all servers, how fast it moves and how long it takes.
func TestDeployProgressTellsRateAndTimeLeft(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	p.line.Tty, p.line.width = true, func() int { return 60 }
	start := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	fetch := func(member string, done int64, after time.Duration) {
		t.Helper()
		step := catalog.MemberProgress{Step: catalog.StepFetching, Done: done << 20, Total: 100 << 20}
		if err := p.Event(messages.Event{At: start.Add(after), Member: member, Progress: &step}); err != nil {
			t.Fatal(err)
		}
	}
	fetch("server-1", 0, 0)
	fetch("server-2", 0, 0)
	fetch("server-1", 20, 2*time.Second)
	out.Reset()
	fetch("server-2", 20, 4*time.Second)
	if got := out.String(); !strings.Contains(got, "40.0 MiB of 200.0 MiB, 10.0 MiB/s, 17s left") {
		t.Errorf("the progress is %q", got)
	}
	out.Reset()
	for _, m := range []string{"server-1", "server-2"} {
		if err := p.Event(messages.Event{At: start.Add(20 * time.Second), Member: m, Progress: &catalog.MemberProgress{Step: catalog.StepStarting}}); err != nil {
			t.Fatal(err)
		}
	}
	if last := out.String()[strings.LastIndex(out.String(), "\x1b[3A")+1:]; strings.Contains(last, "left") {
		t.Errorf("after the transfer the progress is %q", last)
	}

	out.Reset()
	p = NewProgress(&out) // in a pipe
	for second := range 90 {
		fetch("server-1", int64(second), time.Duration(second)*time.Second)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[2], "1.0 MiB/s") {
		t.Errorf("in a pipe it prints %q", lines)
	}
}
