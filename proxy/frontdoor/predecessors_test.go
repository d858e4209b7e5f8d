package frontdoor

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"portico/conf"
	"portico/internal/takeover"
)

// A former process lives for as long as its streams do, and no longer than it may.
func TestFormerProcessLivesAsLongAsItsStreams(t *testing.T) {
	timeouts := conf.Default().Proxy.Timeouts
	for _, c := range []struct {
		lasted  time.Duration
		streams int
		told    bool
		want    error
	}{
		{10 * time.Second, 0, false, nil},
		{10 * time.Second, 3, true, nil},
		{31 * time.Second, 0, false, errDrained},
		{31 * time.Second, 3, false, nil},
		{31 * time.Second, 3, true, errToldToEnd},
		{11 * time.Hour, 1, false, nil},
		{12 * time.Hour, 1, false, errTooLong},
	} {
		if got := lastsTooLong(c.lasted, timeouts, c.streams, c.told); !errors.Is(got, c.want) {
			t.Errorf("after %s, %d streams, told %v: %v, want %v", c.lasted, c.streams, c.told, got, c.want)
		}
	}
}

// TestStreamsOfALostLineHoldTheirInstances holds that a proxy which was killed after an upgrade does not take away,
// a while later, what the streams of the process before it lead to.
func TestStreamsOfALostLineHoldTheirInstances(t *testing.T) {
	p := &Proxy{conf: conf.Default()}
	p.conf.Dir = t.TempDir()
	if len(p.unheard()) > 0 {
		t.Error("there is no former process")
	}
	old := newDuckNote(p.conf.Dir, time.Now(), time.Hour, slog.Default())
	old.PID = os.Getppid() // one that lives
	old.tell(2)
	var log bytes.Buffer
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	p.conf.Proxy.Name = "proxy-1"
	warned := map[int]bool{}
	for range 2 {
		p.warnUnheard(warned, time.Now())
	}
	if n := strings.Count(log.String(), "an old process has streams"); n != 1 || !strings.Contains(log.String(), "ends_within=1h0m0s") {
		t.Errorf("the log says it %d times: %s", n, log.String())
	}
	if len(p.unheard()) == 0 {
		t.Error("what two streams lead to may be stopped")
	}
	p.predecessor = &takeover.Predecessor{}
	if len(p.unheard()) > 0 {
		t.Error("a former process with a line tells of its sessions itself")
	}
	p.silent.Store(true)
	if len(p.unheard()) == 0 {
		t.Error("the line has ended, and the streams have not")
	}
	old.tell(0)
	if len(p.unheard()) > 0 {
		t.Error("no stream is left")
	}
}
