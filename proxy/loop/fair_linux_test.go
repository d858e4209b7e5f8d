package loop_test

import (
	"crypto/tls"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
	"portico/proxy/loop"
	"portico/proxy/wire"
	"portico/tests/support/race"
)

// judge watches the turns of one loop by what its thread did: its CPU time, and how often it gave the processor up by itself. Neither
// depends on what else runs.
type judge struct {
	locked bool
	cpu    time.Duration
	waits  int64 // of the thread, until the turn began
	pushed int64 // how often the thread was interrupted

	mu sync.Mutex // taken between turns only
	sums
}

// sums is what a judge has seen.
type sums struct {
	turns   int
	long    int // turns that took more than a millisecond of CPU
	longest time.Duration
	blocked int // turns that waited for something
	work    int // the most that was done between two looks at the clock
}

func (j *judge) begin() {
	if !j.locked {
		runtime.LockOSThread() // until its goroutine ends: a thread's figures are the loop's
		j.locked = true
	}
	j.waits, j.pushed = switches()
	j.cpu = threadTime()
}

func (j *judge) end() {
	took := threadTime() - j.cpu
	waits, pushed := switches()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.turns++
	j.longest = max(j.longest, took)
	if took > time.Millisecond {
		j.long++
	}
	// Of a thread that was taken off its processor for long, Go's scheduler takes the goroutine, which looks like a wait.
	if waits != j.waits && pushed == j.pushed {
		j.blocked++
	}
}

func (j *judge) looked(work int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.work = max(j.work, work)
}

func (j *judge) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sums = sums{}
}

func (j *judge) seen() sums {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sums
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	const clockThreadCPU = 3
	var ts syscall.Timespec
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

// switches is how often this thread has given up its processor by itself, and how often it had to.
func switches() (waits, pushed int64) {
	const thread = 1
	var u syscall.Rusage
	_, _, _ = syscall.RawSyscall(syscall.SYS_GETRUSAGE, thread, uintptr(unsafe.Pointer(&u)), 0)
	return u.Nvcsw, u.Nivcsw
}

// attempts bounds how often the mix is repeated. What the machine adds to a turn now and then, such as an interrupt's work or memory
// that the kernel must find first, does not come at every attempt; what the loop does itself would.
const attempts = 30

// workMost is how much a loop may do before it looks at the clock again, in bytes or what costs as much. A turn is short because each of
// its stages ends at the first look behind its share: this holds what can come before that look, on any machine and however busy that is.
// One connection's turn counts twice where it speaks HTTP/2, with what was made and closed for it, behind what was done before it.
const workMost = 8 * loop.ByteBudget

// TestTurnsAreShort: whatever comes together, no turn of a loop takes a millisecond of its thread's time, and none waits for anything.
func TestTurnsAreShort(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector makes everything ten times as long, and waits itself; make test runs this without it")
	}
	short, free := false, false
	seen := hardMix(t, false, attempts, nil, func(s sums) bool {
		short, free = short || s.long == 0, free || s.blocked == 0
		return short && free
	})
	if !short || !free {
		t.Errorf("at every attempt a turn took more than a millisecond, or one waited: %+v", seen)
	}
}

// TestTurnsWithStreamsAreShort: beside clients that speak HTTP/2 and do their worst, a loop does no more without a look at the clock than
// beside others, and fewer than one turn in a thousand takes a millisecond. They make so many more turns, all of which enter the kernel,
// that what it does there for others on a busy machine is in every attempt: that part of a thread's time is not the loop's.
func TestTurnsWithStreamsAreShort(t *testing.T) {
	if race.Enabled {
		t.Skip("as TestTurnsAreShort")
	}
	short, free := false, false
	seen := hardMix(t, true, attempts, nil, func(s sums) bool {
		short, free = short || s.long*1000 < s.turns, free || s.blocked == 0
		return short && free
	})
	if !short || !free {
		t.Errorf("at every attempt one turn in a thousand took more than a millisecond, or one waited: %+v", seen)
	}
}

// TestLongTurnsAreSeen: the tests above can fail.
func TestLongTurnsAreSeen(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector waits itself, see TestTurnsAreShort; both run without it in make test")
	}
	spin := func() {
		for end := threadTime() + 2*time.Millisecond; threadTime() < end; {
		}
	}
	for _, s := range hardMix(t, false, 1, spin, func(sums) bool { return false }) {
		if s.long < evils/2 || s.longest < 2*time.Millisecond {
			t.Errorf("a handler that spins for 2 ms was not seen: %+v", s)
		}
	}
	for _, s := range hardMix(t, false, 1, func() { time.Sleep(2 * time.Millisecond) }, func(sums) bool { return false }) {
		if s.blocked == 0 {
			t.Errorf("a handler that sleeps was not seen: %+v", s)
		}
	}
}

// mixer routes without a lock, parks some and calls them all at once.
type mixer struct {
	up     *exchange.Upstream
	parked chan func()
	evil   func()
}

func (m *mixer) Route(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
	d.Upstream = m.up
	switch string(r.Path) {
	case "/park":
		if d.Parked == 0 {
			d.Verdict, d.ParkFor = exchange.Park, time.Minute
			select {
			case m.parked <- d.Wake:
			default: // never: it has room for all
			}
		}
	case "/evil":
		if m.evil != nil {
			m.evil()
		}
	}
}

func (m *mixer) Answered(*http1.Request, *http1.Response, *exchange.Decision)            {}
func (m *mixer) Hinted(*http1.Request, *http1.Response, *exchange.Decision) []byte       { return nil }
func (m *mixer) Failed(*http1.Request, *exchange.Peer, *exchange.Decision, exchange.Why) {}
func (m *mixer) Finished(*http1.Request, *exchange.Peer, *exchange.Decision)             {}

const (
	mixed    = 4 // clients of each kind
	rounds   = 6
	bodySize = 2 << 20
	waiting  = 300
	silent   = 600
	evils    = 40                     // requests whose handler misbehaves
	silence  = 700 * time.Millisecond // of a client, until the loop has enough of it
)

// hardMix lets one loop serve everything that is hard at the same time, until enough says so, and returns what was seen each time.
func hardMix(t *testing.T, streams bool, most int, evil func(), enough func(sums) bool) []sums {
	t.Helper()
	// Clients and origin share the process: their garbage must not stop the loop's thread.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	big := strings.Repeat("0123456789abcdef", bodySize/16)
	m := &mixer{up: &exchange.Upstream{Addr: mixedOrigin(t, big)}, parked: make(chan func(), waiting), evil: evil}
	cert, pool := rig.Certificate(t)
	plain, err1 := net.Listen("tcp", "127.0.0.1:0")
	secure, err2 := net.Listen("tcp", "127.0.0.1:0")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	j := &judge{}
	addr, d := rig.Start(t, func(o exchange.Options) (exchange.Driver, error) { return loop.NewWatched(o, j.begin, j.end, j.looked) }, exchange.Options{
		Config: exchange.Config{Handler: m, Timeouts: wire.Timeouts{Idle: silence, Connect: time.Minute}},
		Listeners: []exchange.Listener{
			{Listener: plain}, {Listener: secure, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS13}},
		},
		Loops: 1,
	})
	x := &mix{t: t, streams: streams, plain: addr, secure: secure.Addr().String(), cfg: &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}, big: big}
	x.run(m, false) // memory that the first time needs
	var list []sums
	for tries := 0; len(list) < most; tries++ {
		rig.Eventually(t, "all are gone", func() bool { return d.Stats().Clients == 0 })
		runtime.GC()
		j.reset()
		if !x.run(m, evil != nil) && !t.Failed() {
			if tries > attempts {
				t.Fatalf("at every attempt the clients were late: %v", x.faults)
			}
			continue
		}
		s := j.seen()
		t.Logf("%d turns, the longest %v, %d longer than a millisecond, %d waited, at most %d bytes' work without a look at the clock", s.turns, s.longest, s.long, s.blocked, s.work)
		if s.work > workMost {
			t.Errorf("work of %d bytes without a look at the clock, want at most %d", s.work, workMost)
		}
		if list = append(list, s); enough(s) {
			break
		}
	}
	return list
}
