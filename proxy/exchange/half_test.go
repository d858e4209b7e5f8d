package exchange_test

import (
	"net/netip"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// halfway is an exchange that is moved by hand, at a clock of its own.
type halfway struct {
	t   *testing.T
	x   exchange.Exchange
	now int64
}

const rest, whole = int64(30 * time.Second), int64(time.Hour)

func halfwayThrough(t *testing.T, h exchange.Handler, request, answer string) *halfway {
	t.Helper()
	conf := exchange.Config{Handler: h, Timeouts: wire.Timeouts{Body: time.Duration(rest), Tunnel: time.Duration(whole)}}.WithDefaults()
	e := &halfway{t: t, now: 1}
	e.x.Begin(&conf, &heap{lent: map[*byte]bool{}}, netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{}, false, "", 0, e.now)
	e.x.Allow(exchange.WriteClient | exchange.WriteUpstream)
	e.read(exchange.Client, request, wire.Blocked)
	e.move()
	e.read(exchange.Up, answer, wire.Blocked)
	e.move()
	return e
}

func (e *halfway) read(s exchange.Side, text string, res wire.Result) {
	e.x.Now(e.now)
	n := 0
	if text != "" {
		n = copy(e.x.Space(s), text)
	}
	e.x.Read(s, n, res)
}

// move lets everything be written that waits.
func (e *halfway) move() {
	for {
		switch e.x.Next() {
		case exchange.OpConnect:
			e.x.Connected(false, 0)
		case exchange.OpWriteClient:
			a, b := e.x.Pending(exchange.Client)
			e.x.Wrote(exchange.Client, len(a)+len(b), wire.More)
		case exchange.OpWriteUpstream:
			a, b := e.x.Pending(exchange.Up)
			e.x.Wrote(exchange.Up, len(a)+len(b), wire.More)
		case exchange.OpShutClient, exchange.OpShutUpstream, exchange.OpDropUpstream:
		default:
			return
		}
	}
}

// lasts asks for an end after so long without a byte, and not a nanosecond earlier.
func (e *halfway) lasts(what string, d int64) {
	e.t.Helper()
	for at := e.now + d - 1; at <= e.now+d; at++ {
		e.x.Now(at)
		e.x.Holds(exchange.Client, -1)
		e.x.Holds(exchange.Up, -1)
		e.x.Timeout()
		if active := e.x.Active(); active != (at < e.now+d) {
			e.t.Errorf("%s: after %v it is active: %v", what, time.Duration(at-e.now), active)
		}
	}
}

// TestHalfTunnel: half a tunnel has the time of a body behind each byte, and behind the end of the first side; a whole one has its own.
func TestHalfTunnel(t *testing.T) {
	begin := func() *halfway {
		return halfwayThrough(t, &plan{up: &exchange.Upstream{Addr: "192.0.2.2:1"}}, rig.Upgrade, rig.Switched)
	}
	begin().lasts("whole", whole)
	for _, first := range []exchange.Side{exchange.Client, exchange.Up} {
		e := begin()
		e.now += whole - 1
		e.read(first, "", wire.EOF)
		e.move()
		e.lasts("half", rest)

		e = begin()
		e.read(first, "", wire.EOF)
		e.move()
		for range 5 {
			e.now += rest - 1
			e.read(exchange.Client+exchange.Up-first, "x", wire.Blocked)
			e.move()
		}
		e.lasts("half that talks", rest)
	}
}

// eventPlan makes every answer a stream of events.
type eventPlan struct{ plan }

func (*eventPlan) Answered(_ *http1.Request, _ *http1.Response, d *exchange.Decision) {
	d.Silence = time.Duration(whole)
}

// TestHalfStream: a stream of events has its own time between two of them, and the time of a body once its client has ended.
func TestHalfStream(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	begin := func() *halfway {
		h := &eventPlan{plan{up: &exchange.Upstream{Addr: "192.0.2.2:1"}}}
		return halfwayThrough(t, h, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer)
	}
	begin().lasts("whole", whole)
	e := begin()
	e.now += whole - 1
	e.x.Now(e.now)
	e.x.ClientEnded()
	for range 3 {
		e.now += rest - 1
		e.read(exchange.Up, "data: x\n\n", wire.Blocked)
		e.move()
		e.x.ClientEnded() // however often
	}
	e.lasts("half", rest)
}
