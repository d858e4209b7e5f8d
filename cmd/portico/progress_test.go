package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/internal/exitcode"
	"portico/membership/catalog"
)

// A line that is replaced each second must not wrap on a narrow terminal.
func TestStatusLineIsCutToTheWidth(t *testing.T) {
	var out bytes.Buffer
	line := &statusLine{out: &out, tty: true, width: func() int { return 20 }}
	line.set("server-1: %s", strings.Repeat("é", 100))
	text := strings.TrimPrefix(out.String(), "\r\x1b[K")
	if n := len([]rune(text)); n >= 20 || !strings.HasSuffix(text, "é…") {
		t.Errorf("%d characters on a terminal of 20: %q", n, text)
	}
}

// A drain of eight hours in a pipe prints what changes, once a minute at most.
func TestDrainInAPipePrintsChanges(t *testing.T) {
	var out bytes.Buffer
	line := &statusLine{out: &out, width: func() int { return 0 }}
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
		line.note(drainKey(x), "server-1: "+drainText(x, now), now)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 7 || !strings.Contains(lines[0], "400 sessions") || !strings.Contains(lines[5], "101 sessions") || !strings.Contains(lines[6], "7 sessions") {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
}

// A deploy tells how much there is to move to all servers, how fast it moves and how long it takes.
func TestDeployProgressTellsRateAndTimeLeft(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.line.tty, p.line.width = true, func() int { return 60 }
	start := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	fetch := func(member string, done int64, after time.Duration) {
		t.Helper()
		step := catalog.MemberProgress{Step: catalog.StepFetching, Done: done << 20, Total: 100 << 20}
		if err := p.event(catalog.Event{At: start.Add(after), Member: member, Progress: &step}); err != nil {
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
		if err := p.event(catalog.Event{At: start.Add(20 * time.Second), Member: m, Progress: &catalog.MemberProgress{Step: catalog.StepStarting}}); err != nil {
			t.Fatal(err)
		}
	}
	if last := out.String()[strings.LastIndex(out.String(), "\x1b[3A")+1:]; strings.Contains(last, "left") {
		t.Errorf("after the transfer the progress is %q", last)
	}

	out.Reset()
	p = newProgress(&out) // in a pipe
	for second := range 90 {
		fetch("server-1", int64(second), time.Duration(second)*time.Second)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[2], "1.0 MiB/s") {
		t.Errorf("in a pipe it prints %q", lines)
	}
}

// No command ends with the library's word for a time that was up.
func TestLateSaysWhatItDid(t *testing.T) {
	request := fmt.Errorf(`wait for the servers: Get "https://10.0.0.1:7443/v1/stats": %w`, context.DeadlineExceeded)
	for _, err := range []error{request, context.DeadlineExceeded} {
		got := late(err)
		if strings.Contains(got.Error(), "deadline exceeded") || strings.Contains(got.Error(), "https://") || !strings.Contains(got.Error(), "no answer in time") || exitCode(got) != exitcode.TimedOut {
			t.Errorf("%q ends with %d: %q", err, exitCode(got), got)
		}
	}
	if !strings.HasPrefix(late(request).Error(), "wait for the servers: ") {
		t.Errorf("what was done is lost: %q", late(request))
	}
	if err := errors.Join(context.DeadlineExceeded, errors.New("with words")); late(err) != err {
		t.Error("words of its own were replaced")
	}
}
