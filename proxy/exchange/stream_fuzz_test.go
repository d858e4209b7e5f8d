package exchange_test

import (
	"strings"
	"testing"

	"portico/proxy/exchange"
)

// FuzzStream is FuzzExchange for a client that is a stream: whatever its head, its body and trailers are and whatever the upstream answers,
// the exchange ends, every buffer comes back, the upstream sees whole requests or one that breaks off, and the stream
// gets heads, a body and one end, or a reset.
func FuzzStream(f *testing.F) {
	for _, tt := range streamTests() {
		if len(tt.head)+len(tt.body)+len(strings.Join(tt.answers, "")) < 2000 {
			f.Add(tt.head, tt.body, tt.trailers, strings.Join(tt.answers, ""), tt.open, tt.early, 7)
		}
	}
	f.Fuzz(func(t *testing.T, head, body, trailers, answer string, open, early bool, step int) {
		if len(head) > 4<<10 || head == "" || head[0] < ' ' || !strings.HasSuffix(head, "\r\n\r\n") || trailers != "" && !strings.HasSuffix(trailers, "\r\n\r\n") {
			return // a connection of HTTP/2 makes whole ones
		}
		if !open {
			body, trailers = "", ""
		}
		s := streamRun{
			streamTest: &streamTest{head: head, body: body, trailers: trailers, open: open, early: early, answers: []string{answer, answer}},
			step:       max(step&1023, 1),
		}
		p := &plan{up: &exchange.Upstream{}}
		op := s.run(t, p)
		got := s.got.String()
		switch {
		case op != exchange.OpClose && op != exchange.OpAbort:
			t.Fatalf("it ended with %d", op)
		case p.finished < p.routed:
			t.Fatalf("%d routed, %d finished", p.routed, p.finished)
		case strings.Contains(got, "[behind the end]"):
			t.Fatalf("something came behind the end: %q", got)
		case op == exchange.OpClose && !s.got.last:
			t.Fatalf("the stream closed in order without an end: %q", got)
		}
		for _, sent := range s.sent {
			checkSent(t, []byte(sent))
		}
	})
}
